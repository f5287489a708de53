"""Results in, pages out: results.json, report.md and its pictures; tables for a README."""
