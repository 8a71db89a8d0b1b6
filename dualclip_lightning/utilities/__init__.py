"""Helpers of all other subpackages: argument checks, files, run records, caches, seeds, versions and processes."""
