"""Parts of networks that models are made of."""
