"""Embeddings of the views of image files."""
