"""Peers in, samples out: every engine in a process of its own, asked over JSON lines."""
