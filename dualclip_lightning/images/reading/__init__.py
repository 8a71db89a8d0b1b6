"""Decoding of files and objects in memory to pixels, whatever their format, depth and orientation."""
