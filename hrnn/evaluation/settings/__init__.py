"""How models and their baselines are measured on data that exist: the literature's question, and the night's."""
