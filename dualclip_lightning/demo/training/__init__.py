"""Training of the demo's small CLIP model: scenes, defects, the stem, losses, and a synthetic validation."""
