"""A station that scores the images that arrive in a folder."""
