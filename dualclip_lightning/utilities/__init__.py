"""Checks of arguments, files, records of runs, caches, seeds, versions and memory, for every other subpackage."""
