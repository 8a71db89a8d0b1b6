"""From a file or an object in memory to pixels, whatever its format, depth and orientation."""
