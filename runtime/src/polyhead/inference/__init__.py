"""Comes in: token ids. Goes out: logits, computed in groups by threads over one session."""
