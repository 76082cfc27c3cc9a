"""report.html and explanations.json of a solution version."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hrnn.blend.snapshots import BlendedModel, PerUserSnapshot
from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.data.splits import Prepared
from hrnn.explain.evaluation import ExplainedList, choose_users, explained_list
from hrnn.explain.families import FAMILIES
from hrnn.explain.nightly import ranked_list
from hrnn.ranker.snapshot import RankedSnapshot
from jobs.platform.storage.folders import StepFolder
from jobs.reports.solution import solution_html
from jobs.solutions.staging import Staged
from jobs.train.fit import FittedRecipe
from jobs.train.report.page import Explained, ReportInputs, solution_page
from jobs.train.report.people import PATH_MEANINGS, Named, explained_user, user_document
from schemas.columns import ITEM_ID, USER_ID
from schemas.manifest import FileEntry

_TITLE_COLUMNS = ("TITLE", "ITEMNAME", "ITEM_NAME", "NAME", "PRODUCT_NAME")


def training_report(
    folder: StepFolder,
    inputs: ReportInputs,
    fitted: FittedRecipe,
    sequences: Sequences,
    prepared: Prepared,
    staged: Staged,
) -> list[FileEntry]:
    """Put report.html, and explanations.json where there is anything to explain, into a folder that is about to be published.

    Args:
        folder: Of the solution version.
        inputs: What the page tells of.
        fitted: What the recipe came to.
        sequences: All of them.
        prepared: Their parts.
        staged: Where ids and titles stand.
    """
    explained = None
    if isinstance(fitted.evaluation, PerUserSnapshot):
        test_users = prepared.split.user_rows
        if isinstance(fitted.serving, RankedSnapshot):
            explained = explain_users(fitted.serving, sequences, sequences, test_users, staged)
        else:
            explained = explain_users(fitted.evaluation.blended, sequences, prepared.kept, test_users, staged)
    return [folder.put_page(name, data) for name, data in _files(inputs, explained).items()]


def explain_users(
    view: RankedSnapshot | BlendedModel,
    sequences: Sequences,
    known: Sequences,
    test_users: Rows,
    staged: Staged,
    *,
    num_users: int = 10,
) -> Explained:
    """Lists of some users and why they are so.

    Args:
        view: The ranker that serves; or the model as the evaluation has it.
        sequences: All events.
        known: Those that users are asked after: for a ranker all, for the evaluation those that are not hidden.
        test_users: Rows of the users who have hidden events.
        staged: Where ids and titles stand.
        num_users: How many users at most.
    """
    chosen = choose_users(known.history_lengths, test_users, num_users=num_users).tolist()
    num_ranked = int(np.count_nonzero(sequences.item_counts()))
    ranked = isinstance(view, RankedSnapshot)
    found = [
        ranked_list(view, known, user, num_ranked=num_ranked)
        if isinstance(view, RankedSnapshot)
        else explained_list(view, known, user, num_ranked=num_ranked)
        for user in chosen
    ]
    named = _named(found, sequences, staged)
    whole_history = staged.manifest.metadata.get("gap_seconds") is None
    users = [user_document(each, sequences, known, named) for each in found]
    pages = (
        explained_user(user, row, known, named, whole_history=whole_history, ranked=ranked)
        for user, row in zip(users, chosen, strict=True)
    )
    document = {"paths": FAMILIES if ranked else PATH_MEANINGS, "users": users}
    return Explained(tuple(pages), document, whole_history, ranked)


def _named(found: Sequence[ExplainedList], whole: Sequences, staged: Staged) -> Named:
    """Names of the users, of their listed items and of all items that they have had."""
    had = whole.item_rows[whole.event_positions(np.asarray([each.user_row for each in found], dtype=np.int64)).values]
    rows = np.unique(np.concatenate([had, *(each.item_rows for each in found)]))
    schema = pq.read_schema(staged.catalogue)
    texts = [name for name in schema.names if pa.types.is_string(schema.field(name).type)]
    title = next((name for wanted in _TITLE_COLUMNS for name in texts if name.upper() == wanted), ITEM_ID)
    told = staged.catalogue_table(sorted({ITEM_ID, title})).take(pa.array(rows, pa.int64()))
    item_ids = told[ITEM_ID].to_pylist()
    titles = {item_id: str(text) if text else item_id for item_id, text in zip(item_ids, told[title].to_pylist(), strict=True)}
    user_ids: dict[int, str] = {}
    for shard, path in zip(staged.shards, staged.users, strict=True):
        first, end = int(shard["first_user_row"]), int(shard["first_user_row"]) + int(shard["num_users"])
        mine = [user.user_row for user in found if first <= user.user_row < end]
        if mine:
            ids = pq.read_table(path, columns=[USER_ID])[USER_ID].take(pa.array([row - first for row in mine], pa.int64()))
            user_ids |= dict(zip(mine, ids.to_pylist(), strict=True))
    return Named(user_ids, dict(zip(rows.tolist(), item_ids, strict=True)), titles)


def _files(inputs: ReportInputs, explained: Explained | None) -> dict[str, bytes]:
    files = {"report.html": solution_html(solution_page(inputs, explained)).encode()}
    if explained is not None:
        files["explanations.json"] = (json.dumps(explained.document, ensure_ascii=False, indent=1) + "\n").encode()
    return files
