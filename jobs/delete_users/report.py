"""The page of a deletion, made of its document; and the lines for the terminal."""

from __future__ import annotations

from typing import Any

from jobs.reports.html import render
from jobs.reports.parts import Verdict
from schemas.version import VERSION

_NOTES = (
    "The parameters of solution versions were learnt from all users and stay; they hold no row of a user. "
    "The next night trains anew, without the users.",
    "Aggregates stay: counts of items, metrics, histograms, samples of hashes.",
    "Copies beyond the places above are not reached: downloads, backups, older versions in a versioned bucket, batch inputs.",
)


def deletion_html(document: dict[str, Any]) -> str:
    """The page as one HTML document that loads nothing; it names no user."""
    page = {"document": document, "verdict": verdict(document), "notes": _NOTES, "software": VERSION}
    return render("deletion.html.j2", page)


def verdict(document: dict[str, Any]) -> Verdict:
    """Whether the users are gone, and whether they may come back."""
    left = sum(place["rows_of_users_after"] for place in document["places"])
    looked = f"{len(document['places']):,} places were looked through twice"
    if document["status"] != "COMPLETED":
        still = f"the second time {left:,} rows of the users were still found"
        detail = f"{looked}; {still}. Run it again when no other run writes there."
        return Verdict(state="bad", word="Not finished", sentence="Some of the users' rows are still there.", detail=detail)
    detail = f"{looked}; the second time no row of the users was found."
    holding = [each for each in document["inputs"] if each["rows"]]
    unread = [each for each in document["inputs"] if each["state"].startswith("not readable")]
    if holding or unread:
        number = f"your CSV files still hold them ({len(holding):,} of {len(document['inputs']):,})"
        reason = number if holding else "some of your CSV files could not be read"
        return Verdict(
            state="even",
            word="Deleted here",
            sentence=f"But {reason}: the next import brings back whom it finds there.",
            detail=f"{detail} Remove the users from the files below, then import again.",
        )
    return Verdict(state="good", word="Deleted", sentence="The users are gone from all that the platform wrote.", detail=detail)


def deletion_lines(document: dict[str, Any]) -> list[str]:
    """What stands on the terminal."""
    judged = verdict(document)
    changed = [place for place in document["places"] if place["state"] != "clean"]
    people = f"{document['users_found']:,} of {document['users']:,} users found"
    return [
        f"{judged.word}. {judged.sentence}",
        f"  {people}, {document['numDeleted']:,} rows deleted from datasets",
        *(f"  {place['kind']} {place['state']}: {place['rows_of_users']:,} rows, {place['uri']}" for place in changed),
        *(f"  still in {each['uri']}: {each['rows']:,} rows" for each in document["inputs"] if each["rows"]),
        f"Page: {document['report']}",
    ]
