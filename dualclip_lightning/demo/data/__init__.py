"""The demo data set: photographs, and defects drawn into them."""
