"""The plan of a benchmark: its configuration with checks, the catalogue of names, and the cells."""
