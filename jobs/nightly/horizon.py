"""How far apart the nights of a dataset group are: the period that a night's lists are made for, where nobody says it."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from jobs.platform.storage import join, store_for
from jobs.workspace.generations import read_summary, summary_uris

NIGHTS = 8  # the newest, whose data are compared
LONGEST = 366.0  # days
_HOUR = 3_600  # seconds
_NEARLY_A_DAY = 20  # hours


def usual_horizon_days(workspace: str, sequences: str) -> float:
    """Median of the days between the newest events of one night's data and the next one's; 1 where there were not two nights.

    Nights from the first one on that had the same data have no part in it: the same night finds the same horizon when it is run
    again. It is a whole number of days, or of hours where it is less than twenty.

    Args:
        workspace: Of the dataset group.
        sequences: Fingerprint of this night's step that makes the sequences.

    Raises:
        IntegrityError: The summary of a night is damaged.
    """
    summaries = summary_uris(file.uri for file in store_for(workspace).list(join(workspace, "nights") + "/gen-"))
    newest_events: list[int] = []
    for uri in summaries[: NIGHTS + 1]:  # the newest first
        for step in read_summary(uri)["steps"]:
            if step["job"] == "sessionize" and isinstance(step.get("newest_event"), int):
                if step["fingerprint"] == sequences:
                    newest_events.clear()
                else:
                    newest_events.append(step["newest_event"])
    gaps = [later - earlier for later, earlier in pairwise(newest_events) if later > earlier]
    if not gaps:
        return 1.0
    hours = max(1, round(median(gaps) / _HOUR))
    return hours / 24 if hours < _NEARLY_A_DAY else min(LONGEST, float(max(1, round(hours / 24))))
