"""Programs that measure the cost of a step, of metrics and of a whole run, and the false alarms of thresholds."""
