"""Detection: images in, boxes out."""
