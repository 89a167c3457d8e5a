"""What can go wrong, made to go wrong, many times: ``python -m benchmarks.reliability``; writes docs/reliability.md."""
