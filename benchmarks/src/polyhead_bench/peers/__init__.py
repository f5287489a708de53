"""Scripts that run in environments of their own, with nothing of polyhead installed."""
