"""How `hrnn recommend` works: requests of lines, the loaded solution version, answers and their reasons, Spark stages."""
