"""Comes in: a bundle. Goes out: whether it still gives the trained model's answers."""
