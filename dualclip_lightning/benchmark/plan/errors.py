"""Error of a configuration, in a module that is fast to import."""


class ConfigError(ValueError):
    """The configuration is invalid; the message lists all errors."""
