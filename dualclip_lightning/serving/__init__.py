"""An HTTP service that scores uploaded images with one detector; needs the extra `serve`."""
