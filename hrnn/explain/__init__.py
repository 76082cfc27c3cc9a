"""Why an item is in a list."""
