"""Damaged configs (TOML, AWS's JSON), schemas and batch lines, by the thousand: taken or refused in words, at once.

    python tests/fuzz/fuzz_configs.py --inputs 10000 --seed 0
    python tests/fuzz/fuzz_configs.py --seed 0 --only 4711      # one input again

Every input follows from the seed and its number alone: a right document with a few values, keys or characters changed.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

from fuzz_inputs import nodes_of

from jobs.recommend.lines import read_requests
from schemas.automation import from_automation, is_automation_config
from schemas.automation_batches import Places
from schemas.batch import BadLine, LineKind, error_line, parse_line
from schemas.config import build_config, parse_document
from schemas.datasets import parse_schema
from schemas.errors import UserError

DEADLINE_SECONDS = 20.0  # of one input; most take a thousandth
MOST_FAILURES = 10  # told before the run ends
_LONGEST_MESSAGE = 10_000  # characters

_FIELDS = [{"name": "USER_ID", "type": "string"}, {"name": "ITEM_ID", "type": "string"}, {"name": "TIMESTAMP", "type": "long"}]
_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Interactions",
    "namespace": "com.amazonaws.personalize.schema",
    "fields": [*_FIELDS, {"name": "LANGUAGE", "type": ["null", "string"], "categorical": True}],
    "version": "1.0",
}
_OURS: dict[str, Any] = {
    "dataset_group": {"name": "shop", "workspace": "s3://bucket/hrnn/shop"},
    "datasets": {
        "interactions": {"schema": _SCHEMA, "data": "raw/", "max_rejected_fraction": 0.1},
        "items": {"schema": "file:///items.json", "data": "s3://bucket/items/", "expectations": "own.json"},
    },
    "validation": {"strict": True, "quotas": {"items_metadata": 50}},
    "sessions": {"gap_seconds": 1800, "tie_order": "file", "event_types": ["view"]},
    "solutions": {
        "for-you": {
            "recipe": "aws-hrnn",
            "hyperparameters": {"hidden_dimension": "100", "bptt": 32},
            "training": {"epochs": 3, "events_config": [{"event_type": "view", "event_value_threshold": 0.5}]},
            "hpo": {"max_jobs": 4, "ranges": {"bptt": [2, 32]}},
        },
        "fans": {"recipe": "arn:aws:personalize:::recipe/aws-item-affinity"},
    },
    "batch_inference": {
        "users": {
            "solution": "for-you",
            "input": "users.json",
            "output": "out/",
            "num_results": 10,
            "filter": 'EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("purchase", $KIND)',
            "explain": True,
        }
    },
    "batch_segment": {"fans": {"solution": "fans", "input": "items.json", "output": "segments/", "num_results": 50}},
    "filtering": {"extended": True, "limits": {"past_events": 300}},
}
_AWS: dict[str, Any] = {
    "datasetGroup": {"serviceConfig": {"name": "shop"}, "workflowConfig": {"schedules": {"import": "cron(0 */6 * * ? *)"}}},
    "datasets": {
        "interactions": {
            "dataset": {"serviceConfig": {"name": "rows"}},
            "schema": {"serviceConfig": {"name": "row-schema", "schema": _SCHEMA}},
        },
        "users": {"dataset": {"serviceConfig": {"name": "people"}}, "schema": {"serviceConfig": {"schema": _SCHEMA}}},
    },
    "solutions": [
        {
            "serviceConfig": {
                "name": "for-you",
                "recipeArn": "arn:aws:personalize:::recipe/aws-hrnn",
                "performHPO": "true",
                "eventType": "view",
                "solutionConfig": {
                    "algorithmHyperParameters": {"hidden_dimension": "64"},
                    "hpoConfig": {
                        "hpoResourceConfig": {"maxNumberOfTrainingJobs": "4", "maxParallelTrainingJobs": "2"},
                        "algorithmHyperParameterRanges": {
                            "integerHyperParameterRanges": [{"name": "bptt", "minValue": 2, "maxValue": 32}]
                        },
                    },
                },
            },
            "campaigns": [{"serviceConfig": {"name": "live", "minProvisionedTPS": 1}}],
            "batchInferenceJobs": [{"serviceConfig": {"numResults": 40, "filterArn": "arn:aws:personalize:::filter/seen"}}],
        },
        {"serviceConfig": {"name": "best", "performAutoML": True}},
    ],
    "filters": [{"serviceConfig": {"name": "seen", "filterExpression": "EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN (*)"}}],
    "eventTracker": {"serviceConfig": {"name": "tracker"}},
}
_LINES: dict[LineKind, dict[str, Any]] = {
    "user": {"userId": "4638"},
    "ranking": {"userId": "891", "itemList": ["27", "886", "101"]},
    "item": {"itemId": "105"},
    "item_users": {"itemId": "105"},
    "attribute_users": {"itemAttributes": 'ITEMS.GENRE = "Comedy"'},
}
_DEEP: list[Any] = []
for _ in range(200):
    _DEEP = [_DEEP]
_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 10**30, 10**2000, 0.5, -0.0, 1e300, float("nan"), float("inf")),
    *("", " ", "\n", "a\nb", "\x1b[31m", "\ud800", "ü", "x" * 70_000, "true", "1e5", "nan", "$X", "NULL", "2024-01-01"),
    *("s3:/b", "s3://", "hdfs:/x", "file:x", "file:///%00", "~nobody/x", "aws-hrn", "aws-sims"),
    *([], {}, [[]], {"": {}}, {"a\n": 1}, [None], {"serviceConfig": None}, {"name": {"name": []}}, _DEEP, {"type": "record"}),
    *("EXCLUDE ItemID WHERE", "INCLUDE ItemID WHERE Items.A " + "AND (" * 300, 'Items.A = "' + "\\" * 50, "IF CurrentUser.A"),
]
_KEYS = [
    "",
    "a.b",
    "a\nb",
    "k" * 70_000,
    "\udfff",
    "name",
    "recipe",
    "solution",
    "filter",
    "serviceConfig",
    "training",
    "userId",
]
_PIECES = [
    *('"', "'", '"""', "'''", "{", "}", "[", "]", "[[", "]]", "=", ":", ",", "#"),
    *("\\", "\\u0000", "\\ud800", "\\x", "\0", "\r", "\n", "\ufeff", "\u2028", "ü", "🛒"),
    *("\n[a]\n", "\n[[solutions]]\n", "a.b.c=1\n", "0x", "1_0", "inf", "-nan", "NaN", "1979-05-27T07:32:00Z", "9" * 5_000),
    *(".a" * 300, "[" * 2_000, '{"a":' * 2_000, "//", "null", "true"),
]


class Failed(Exception):
    """An input that was treated wrongly, with all that is needed to see it again."""


def fuzz(num_inputs: int, seed: int, first: int = 0, deadline_seconds: float = 0.0) -> Counter[str]:
    """Try inputs, and count them.

    Args:
        num_inputs: How many.
        seed: Of all randomness.
        first: Number of the first input.
        deadline_seconds: Longest time for one input; 0 for no limit.

    Returns:
        For each kind (`toml`, `json`, `aws`, `schema`, `line`) how many were tried, and as `… refused` how many were not taken.

    Raises:
        Failed: An input that was treated wrongly.
    """
    figures: Counter[str] = Counter()
    for number in range(first, first + num_inputs):
        random = Random(f"{seed} {number}")
        kind = random.choice(["toml", "toml", "json", "aws", "aws", "schema", "line", "line"])
        text = _text(random, kind)
        if deadline_seconds:
            signal.signal(signal.SIGALRM, _hang)
            signal.setitimer(signal.ITIMER_REAL, deadline_seconds)
        try:
            taken = _TRIES[kind](text)
        except Exception as error:
            told = "".join(traceback.format_exception(error))
            raise Failed(f"{told}\nseed {seed}, input {number}, {kind}: {text[:5_000]!r}") from None
        finally:
            if deadline_seconds:
                signal.setitimer(signal.ITIMER_REAL, 0)
        figures += Counter({kind: 1, f"{kind} refused": not taken})
    return figures


def _hang(*_: Any) -> None:
    raise TimeoutError(f"no end after {DEADLINE_SECONDS:g} s")


def _text(random: Random, kind: str) -> str:
    """A document of a kind, with a few changes."""
    right = {"aws": _AWS, "schema": _SCHEMA, "line": random.choice(list(_LINES.values()))}.get(kind, _OURS)
    document = deepcopy(right)
    for _ in range(random.choice([0, 1, 1, 2, 3])):
        _change(random, document)
    text = _toml(document) if kind == "toml" else json.dumps(document, ensure_ascii=random.random() < 0.5)
    for _ in range(random.choice([0, 0, 0, 1, 2])):
        text = _damage(random, text)
    return text


def _change(random: Random, document: Any) -> None:
    """Put a value, a key or nothing in the place of some node."""
    nodes = nodes_of(document)
    if not nodes:
        return
    node, key = random.choice(nodes)
    kind = random.random()
    if kind < 0.15:
        del node[key]
    elif kind < 0.3 and isinstance(node, dict):
        node[random.choice(_KEYS)] = deepcopy(random.choice([*_VALUES, node[key]]))
    elif kind < 0.4 and isinstance(node, list):
        node.append(deepcopy(node[key]))
    else:
        node[key] = deepcopy(random.choice(_VALUES))


def _damage(random: Random, text: str) -> str:
    """One change of some characters."""
    place = random.randrange(len(text) + 1)
    stop = min(len(text), place + random.choice([1, 2, 5, 40]))
    kind = random.randrange(5)
    if kind == 0:
        return text[:place] + text[stop:]
    if kind == 1:
        return text[:place]
    if kind == 2:
        return text[:stop] + text[place:]
    return text[:place] + random.choice(_PIECES) + text[place:]


def _toml(document: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in document.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return "nan" if value is None else json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


def _try_config(text: str) -> bool:
    places = Places(workspace="s3://b/w", data=lambda name: f"s3://b/{name}.csv", batch=lambda name: f"s3://b/{name}/in.json")
    try:
        document = parse_document(text, "config")
        if is_automation_config(document):
            document, warnings = from_automation(document, places, "config")
            assert all(isinstance(warning, str) for warning in warnings)
        config = build_config(document, "config")
    except UserError as error:
        return _refused(error)
    assert config.model_dump_json()
    return True


def _try_schema(text: str) -> bool:
    try:
        schema = parse_schema(text)
    except UserError as error:
        return _refused(error)
    assert parse_schema(json.dumps(schema.document)).fields == schema.fields
    return True


def _refused(error: UserError) -> bool:
    message = str(error)
    message.encode()
    assert message.replace("\n", "").isprintable(), "a message with odd characters"
    assert len(message) <= _LONGEST_MESSAGE, "a message of too many characters"
    return False


def _try_line(text: str) -> bool:
    line = text.encode("utf-8", "surrogatepass").replace(b"\n", b" ")
    taken = False
    for kind in _LINES:
        request = parse_line(line, kind)
        if isinstance(request, BadLine):
            assert json.loads(error_line(request, kind))["error"] == request.error
        else:
            taken = True
            json.loads(request.given)
        if kind in {"user", "ranking", "item"}:
            quick = read_requests([line], kind)
            assert (quick.errors == {}) == (not isinstance(request, BadLine)), "the two readers differ"
            assert isinstance(request, BadLine) or quick.inputs == [request.given.encode()], "the two readers differ"
    return taken


_TRIES: dict[str, Callable[[str], bool]] = {
    "toml": _try_config,
    "json": _try_config,
    "aws": _try_config,
    "schema": _try_schema,
    "line": _try_line,
}


def main() -> int:
    """Fuzz; the last line tells the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="how many inputs")
    parser.add_argument("--seed", type=int, default=0, help="of all randomness")
    parser.add_argument("--only", type=int, default=None, help="number of the one input to try")
    options = parser.parse_args()
    figures: Counter[str] = Counter()
    failures, began = 0, time.monotonic()
    for number in range(options.inputs) if options.only is None else [options.only]:
        try:
            figures += fuzz(1, options.seed, number, DEADLINE_SECONDS)
        except Failed as failed:
            print(failed, file=sys.stderr)
            failures += 1
            if failures == MOST_FAILURES:
                break
    shown = ", ".join(f"{figures[kind]:,} {kind} ({figures[f'{kind} refused']:,} refused)" for kind in _TRIES)
    print(f"fuzz: {shown}; {failures} wrong; {time.monotonic() - began:.0f} s, seed {options.seed}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
