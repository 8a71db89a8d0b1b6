"""Connected regions of marked pixels, and the files that list them."""
