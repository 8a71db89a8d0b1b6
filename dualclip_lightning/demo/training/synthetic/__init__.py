"""The synthetic images that training draws: grounds, pieces, scenes, the camera and defects."""
