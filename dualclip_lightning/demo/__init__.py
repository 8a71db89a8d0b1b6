"""The embedded demo: its small model, the training of that model, and `dualclip demo`."""
