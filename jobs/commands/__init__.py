"""What typer reads: a module a job, with the options of its command. Whatever does the work is imported by `run`."""
