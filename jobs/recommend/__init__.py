"""How `hrnn recommend` works: cuts of input files, the solution version on a worker, lines, Spark stages, publication."""
