"""What `hrnn recipes` is made of."""
