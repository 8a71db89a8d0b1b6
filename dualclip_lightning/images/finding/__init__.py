"""Which files a user means: folders, patterns and lists."""
