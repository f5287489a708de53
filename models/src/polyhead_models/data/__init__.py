"""Data on disk into examples: one reader a file format, then targets for every head."""
