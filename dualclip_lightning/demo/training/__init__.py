"""Training of the demo's stand-in for CLIP: scenes, defects, the stem, losses, and a synthetic validation."""
