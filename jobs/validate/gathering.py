"""statistics.json, aggregated from the answers of parts and receivers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jobs.validate.figures import BUSIEST, EXAMPLES, SAMPLE
from jobs.validate.statistics import Statistics, bin_edges
from schemas.columns import TIMESTAMP
from schemas.datasets import DatasetSchema

BUSY_PERCENTILE = 99.9  # of users by events a day; those above may be no people

_LAYOUT = 1  # of statistics.json

UserOf = Callable[[Sequence[int]], list[str]]


def statistics_document(
    schema: DatasetSchema,
    columns: Statistics,
    changed: dict[str, tuple[int, int]],
    owners: Sequence[dict[str, Any]],
    items: Sequence[dict[str, Any]],
    gap_seconds: int,
    references: dict[str, str],
    user_of: UserOf,
) -> dict[str, Any]:
    """All of statistics.json.

    Args:
        schema: Of the dataset.
        columns: Figures of its columns.
        changed: Column -> texts that were cleaned, and that were cut.
        owners: Figures of each receiver of users, or of descriptions.
        items: Figures of each receiver of items.
        gap_seconds: Idle time that ends a session.
        references: "items" and "users" -> URI of the dataset that describes them.
        user_of: The user ids of rows, by INPUT_ORDER.
    """
    document: dict[str, Any] = {"layout": _LAYOUT, "dataset_type": schema.dataset_type, **columns.document()}
    for name, column in document["columns"].items():
        if column["kind"] == "text":
            column["cleaned"], column["truncated"] = changed.get(name, (0, 0))
    if not columns.days:
        document["sample"] = _sample(figures.get("sample", []) for figures in owners)
        return document
    document["first_timestamp"], document["last_timestamp"] = (document["columns"][TIMESTAMP][end] for end in ("min", "max"))
    document["users"] = _added(figures["users"] for figures in owners)
    document["sessions"] = {"gap_seconds": gap_seconds, **_added(figures["sessions"] for figures in owners)}
    document["items"] = {
        **_added({name: figures["items"][name] for name in ("count", "events")} for figures in items),
        "sample": _sample(figures["items"]["sample"] for figures in items),
    }
    document["ties"] = _added(figures["ties"] for figures in owners)
    document["bots"] = _bots([figures["bots"] for figures in owners], user_of)
    compared = {}
    if "users" in references:
        users = _references(figures["user_references"] for figures in owners)
        compared["users"] = {"uri": references["users"], **users, "examples": user_of(users["examples"])}
    if "items" in references:
        compared["items"] = {"uri": references["items"], **_references(figures["item_references"] for figures in items)}
    if compared:
        document["references"] = compared
    return document


def _added(documents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Counts summed, histograms added, the latter in ascending order."""
    sums: dict[str, Any] = {}
    for document in documents:
        for name, value in document.items():
            if isinstance(value, dict):
                sums.setdefault(name, Counter()).update(value)
            else:
                sums[name] = sums.get(name, 0) + value
    return {
        name: {key: value[key] for key in sorted(value, key=int)} if isinstance(value, Counter) else value
        for name, value in sums.items()
    }


def _sample(samples: Iterable[list[str]]) -> list[str]:
    return sorted({hashed for sample in samples for hashed in sample})[:SAMPLE]


def _references(documents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    documents = list(documents)
    counted = _added({name: value for name, value in document.items() if name != "examples"} for document in documents)
    return {**counted, "examples": [example for document in documents for example in document["examples"]][:EXAMPLES]}


def _bots(receivers: Sequence[dict[str, Any]], user_of: UserOf) -> dict[str, Any]:
    """Users with more events a day than the percentile, to the resolution of the histogram's bins."""
    users: Counter[int] = Counter()
    events: Counter[int] = Counter()
    for receiver in receivers:
        for number, num_users, num_events in receiver["bins"]:
            users[number] += num_users
            events[number] += num_events
    below, threshold_bin = 0, 0
    for number in sorted(users):
        below, threshold_bin = below + users[number], number
        if below >= users.total() * BUSY_PERCENTILE / 100:
            break
    above = [number for number in users if number > threshold_bin]
    threshold = bin_edges(threshold_bin)[1]
    worst = sorted((entry for receiver in receivers for entry in receiver["worst"] if entry[0] >= threshold), reverse=True)[
        :BUSIEST
    ]
    names = user_of([order for _, _, order in worst])
    return {
        "percentile": BUSY_PERCENTILE,
        "threshold": threshold,
        "users": sum(users[number] for number in above),
        "events": sum(events[number] for number in above),
        "worst": [
            {"user": name, "events_per_day": rate, "events": total} for name, (rate, total, _) in zip(names, worst, strict=True)
        ],
    }
