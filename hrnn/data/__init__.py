"""Data as arrays: what their types are called, and rows of different lengths."""
