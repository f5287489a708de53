"""Results in, pages out: results.json, report.md and its pictures; tables for a README."""

from __future__ import annotations

from polyhead_bench.report.markdown import require_writable, write

__all__ = ["require_writable", "write"]
