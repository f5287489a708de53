"""Comes in: single requests of many callers. Goes out: their predictions, and statistics."""
