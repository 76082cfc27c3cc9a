"""Evaluation settings: next event in the last session, as in the literature, and the next days after a nightly list."""
