"""Comes in: a caller's text or pair. Goes out: token ids with offsets, in windows."""
