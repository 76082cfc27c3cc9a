"""Inference with a fitted model: queries, exact top-k, ranking, related items, segments, filters."""
