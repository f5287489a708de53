"""Comes in: a bundle or a sub-model. Goes out: whether it gives the trained model's answers."""
