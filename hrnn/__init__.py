"""Numbers: sequences in memory, models, losses, training, metrics and scoring. Knows no Spark and no S3."""
