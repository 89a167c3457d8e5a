"""Benchmark of series: ``python -m benchmarks.series`` writes docs/benchmarks/series.md.

The quickstart's sample (GEOAWARE_SAMPLE or --sample): twelve months, spatial strips. Encoders are frozen and each image is encoded
once; the heads of ``core.networks.series`` learn on those features, with dates dropped at random. An interrupted benchmark resumes
with the same command.
"""
