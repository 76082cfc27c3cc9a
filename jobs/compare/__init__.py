"""What `hrnn compare` is made of."""
