"""What `hrnn evaluate` is made of."""
