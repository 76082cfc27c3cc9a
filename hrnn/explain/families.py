"""Families of a ranker's features: the few reasons, in a shop owner's words, that an item is listed for.

Which feature is of which family stands in hrnn/explain/ranked.py; here are their names alone, for whoever writes them.
"""

from __future__ import annotations

DUE, LATEST, HISTORY, SIMILAR = "due again", "goes with the latest", "goes with the history", "similar customers"
LIKED, KIND, ORDER = "liked category", "kind of customer", "order of events"
LATELY, POPULAR, RHYTHM = "popular lately", "popular", "shopping rhythm"
FAMILIES = {
    DUE: "the customer takes it often, and it is due again",
    LATEST: "it goes with what the customer took last",
    HISTORY: "it goes with all that the customer has taken",
    SIMILAR: "similar customers take it",
    LIKED: "its category, words or price are those that the customer takes",
    KIND: "customers of this kind, or in this situation, take it",
    ORDER: "the order of what the customer did leads to it (sequence model)",
    LATELY: "it is popular in the last hours and days, or new",
    POPULAR: "customers take it week after week",
    RHYTHM: "it suits how often and how much the customer takes",
}
"""Family -> what it says of an item, for people."""
