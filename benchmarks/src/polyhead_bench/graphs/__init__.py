"""Graphs of one model against each other at fixed shapes: what the layout and int8 are worth."""
