"""A checkpoint and texts in, a smaller checkpoint out."""
