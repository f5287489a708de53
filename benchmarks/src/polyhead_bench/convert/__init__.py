"""A checkpoint in, the forms that peers ask for out: made once, kept in one cache."""

from __future__ import annotations

from polyhead_bench.convert.cache import Models

__all__ = ["Models"]
