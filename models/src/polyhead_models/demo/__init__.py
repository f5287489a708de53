"""The demo corpus: written customer messages with topic, sentiment and entity spans."""
