"""Which batch size fits into a GPU where the one asked for did not."""

from __future__ import annotations

from collections.abc import Callable

import torch

MARGIN = 0.9  # of what is free: memory falls into pieces, and libraries keep workspaces


def fitting_batch(peak: Callable[[int], float], asked: int, limit: float, queue: int) -> int | None:
    """Estimate the largest batch size that fits, from steps with smaller batches.

    The memory of a step is a fixed part (weights, queue) and a part in proportion to the batch: two sizes
    that fit tell both.

    Args:
        peak: runs a step with so many pairs and returns its most memory, bytes; raises
            ``torch.OutOfMemoryError`` when that does not fit.
        asked: the batch size that did not fit.
        limit: memory that there is, bytes.
        queue: its length, which the answer divides.

    Returns:
        Pairs in a step; None where not even two fit.
    """
    size = asked // 2
    while size >= 4:
        try:
            upper, lower = peak(size), peak(size // 2)
        except torch.OutOfMemoryError:
            size //= 2
            continue
        each = (upper - lower) / (size - size // 2)
        more = int(MARGIN * (limit - upper) / each) if each > 0 else 0
        return max(n for n in range(1, min(size + more, asked - 1) + 1) if queue % n == 0)
    return None
