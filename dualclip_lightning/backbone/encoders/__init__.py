"""Vision towers of open_clip, and the encoders that read them without changing them."""
