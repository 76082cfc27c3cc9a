"""How models and their peers are measured on data that exist: the literature's question, and the night's."""
