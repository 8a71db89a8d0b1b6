"""From embeddings to scores, and from scores to thresholds and decisions."""
