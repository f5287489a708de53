"""Latency and throughput, measured the way a sceptic would: see `polyhead_bench.latency`."""
