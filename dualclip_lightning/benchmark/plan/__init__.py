"""What a benchmark runs: its configuration with the checks, what can be named in it, and the cells."""
