"""Scores from embeddings, and thresholds and decisions from scores."""
