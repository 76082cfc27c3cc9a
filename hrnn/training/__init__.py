"""How a sequence model is trained: batches, losses, negatives, optimisers, checkpoints, ranks."""
