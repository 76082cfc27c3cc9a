"""What `hrnn export` is made of."""
