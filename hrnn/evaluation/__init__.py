"""Offline evaluation: held-out events, metrics with confidence intervals, baselines, evaluation settings."""
