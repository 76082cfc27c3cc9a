"""What `hrnn doctor` is made of."""
