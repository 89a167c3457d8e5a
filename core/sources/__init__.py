"""Located imagery in, chip store out: ``python -m core.prepare SOURCE``.

Each source (a module here) lists what there is to do and yields chips; ``build`` does the rest for all of
them: shards in parallel, restart, splits, statistics, index, checksums.
"""
