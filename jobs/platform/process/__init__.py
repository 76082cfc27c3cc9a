"""A run and its processes: how it ends, its temporary files, the processes that it starts."""
