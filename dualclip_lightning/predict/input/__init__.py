"""From image files to embeddings of their views."""
