"""The command line: parser, help, console output, and the process of anomalib that runs the models of this package."""
