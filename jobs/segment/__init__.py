"""How `hrnn segment` works: the lines and the items they mean, users' affinities in Spark, the best users of every line."""
