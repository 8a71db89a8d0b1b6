"""What is wrong with what a command was asked, as an error; in a module that takes no time to import."""


class ConfigError(ValueError):
    """A configuration that cannot be meant; the message says everything that is wrong with it."""
