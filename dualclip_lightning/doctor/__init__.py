"""`dualclip doctor`: the state of an installation, for bug reports. Nothing is downloaded or changed."""
