"""The parts of `hrnn demo`: its data, its config, and what it says at the end."""
