"""Programs that measure the cost of a step, of metrics and of a whole run, and how far thresholds keep their word."""
