"""Search for the files that a user names by folders, patterns and lists."""
