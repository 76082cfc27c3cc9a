"""Names: dataset schemas, recipes, configs, batch lines, manifests and the error tree. Standard library and pydantic only."""
