"""What a run says of each image, and the files that it leaves."""
