"""Failure tests: ``python -m benchmarks.reliability``; writes docs/reliability.md."""
