"""How `hrnn segment` works: lines and their sets of items, users' affinities in Spark, the best users of every line."""
