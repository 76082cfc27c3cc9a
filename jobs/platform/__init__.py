"""What jobs stand on: storage, Spark, processes, progress."""
