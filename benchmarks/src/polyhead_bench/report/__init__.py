"""A run as pages: report.md, and report.html with its pictures inside."""

from __future__ import annotations

from polyhead_bench.report.write import write

__all__ = ["write"]
