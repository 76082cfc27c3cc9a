"""How a fitted model is asked."""
