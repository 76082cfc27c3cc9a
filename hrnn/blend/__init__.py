"""What a score has beside the model's own: repeats, trends, co-occurrence, and how much each counts."""
