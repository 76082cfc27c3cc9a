"""What batch inference and batch segments share: input files, options, a solution version on a worker, publication."""
