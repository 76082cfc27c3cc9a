"""Places: Spark, S3 and the console script. One file here is one subcommand of `hrnn`."""
