"""Benchmark of learning: ``python -m benchmarks.learning`` writes docs/benchmarks/learning.md and its figures.

    bluemarble  the quickstart's sample (GEOAWARE_SAMPLE or --sample), spatial blocks, twelve dates
    peru        landsat_peru_1985_2020 (--peru), no labels: retrieval across dates
    eurosat     EuroSAT RGB with its split files (--eurosat), neither dates nor places
    dubai       buildings in the masks of dubai_mbrsc_seg (--dubai), detection

It uses the project's own commands and functions. ``jobs`` defines the measurements, ``lanes`` runs them in parallel and
appends each result to results.jsonl, ``page`` writes the results so far. An interrupted benchmark resumes with the same
command. ``choices`` and ``eurosat`` are commands of their own, for a section each.
"""
