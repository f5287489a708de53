"""Comes in: HTTP requests. Goes out: answers as JSON, problem documents, and metrics."""
