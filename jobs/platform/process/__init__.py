"""A run's exit, its temporary files, and the processes that it starts."""
