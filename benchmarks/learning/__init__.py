"""What pretraining buys: ``python -m benchmarks.learning`` writes docs/benchmarks/learning.md and its pictures.

    bluemarble  the quickstart's sample (GEOAWARE_SAMPLE or --sample), spatial blocks, twelve dates
    peru        landsat_peru_1985_2020 (--peru), no labels: retrieval across dates
    eurosat     EuroSAT RGB with its split files (--eurosat), neither dates nor places
    dubai       buildings in the masks of dubai_mbrsc_seg (--dubai), detection

It runs the project's own commands and functions. ``jobs`` says what is measured, ``lanes`` runs it side by
side and keeps each finished job as one line of results.jsonl, so that the benchmark may be stopped at any
moment and goes on with the same command; ``page`` writes what is there so far.
"""
