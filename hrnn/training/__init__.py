"""Training of sequence models: batching, losses, negative sampling, optimisers, checkpoints, ranks."""
