"""The data as arrays."""
