"""Input images: finding the files, decoding them, and reporting those that cannot be used."""
