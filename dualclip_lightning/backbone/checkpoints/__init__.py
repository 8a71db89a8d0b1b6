"""From the name of weights to a file on this machine, and what it holds."""
