"""Models, one file each: contract.py says what a model is, registry.py which one serves a recipe."""
