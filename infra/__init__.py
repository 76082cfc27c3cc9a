"""Callers: set-up and deployment of the platform."""
