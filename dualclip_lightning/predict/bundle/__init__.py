"""Bundles: detectors in one file, with the features of their references, their threshold and all settings."""
