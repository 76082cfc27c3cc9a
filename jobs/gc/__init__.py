"""What `hrnn gc` is made of."""
