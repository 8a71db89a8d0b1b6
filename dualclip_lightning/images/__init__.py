"""Images on the way in: which files are meant, how they are decoded, and what is said of those that cannot be used."""
