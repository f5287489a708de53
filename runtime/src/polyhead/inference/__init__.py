"""Comes in: token ids. Goes out: logits, computed in groups by the threads of one budget."""
