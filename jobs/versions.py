"""Versions of what steps make of the same inputs and settings: with a higher one a step is done anew."""

from __future__ import annotations

SEQUENCES_VERSION = 2
TRAINING_VERSION = 9
MEASURING_VERSION = 3
