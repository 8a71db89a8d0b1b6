"""The command line: parser, help, what the console can show, and the process of anomalib that runs our models."""
