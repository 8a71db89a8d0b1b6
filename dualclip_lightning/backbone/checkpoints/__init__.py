"""Resolution of names of weights to local files, and the contents of these files."""
