"""What `hrnn filter check` does beside parsing: a filter tried on a solution version."""
