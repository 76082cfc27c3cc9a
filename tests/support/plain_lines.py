"""Output lines once more, one at a time: what jobs/recommend/lines.py writes by columns."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.batch import Request, compact_json, score_text


def result_line(request: Request, items: Sequence[str], scores: Sequence[int] | None) -> bytes:
    """The output line of a good input line, with its line break.

    Args:
        request: The input line.
        items: Recommended item ids, best first.
        scores: Theirs, in ten-millionths; None for recipes that write none.
    """
    scored = "" if scores is None else f',"scores":[{",".join(map(score_text, scores))}]'
    output = f'{{"recommendedItems":{compact_json(list(items))}{scored}}}'
    return f'{{"input":{request.given},"output":{output},"error":null}}\n'.encode()
