"""Spark as the jobs use it: the session, the Java behind it, and errors that cross from workers to the driver."""
