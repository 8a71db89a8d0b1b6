"""The embedded demo: its stand-in model, the training of that model, and `dualclip demo`."""
