"""What a model is measured by: held-out events, metrics with their intervals, baselines, evaluation settings."""
