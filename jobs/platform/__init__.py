"""Infrastructure of the jobs: storage, Spark, processes, progress."""
