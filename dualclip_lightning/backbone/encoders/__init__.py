"""Encoders that read vision towers of open_clip and timm without changing them."""
