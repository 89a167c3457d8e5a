"""Estimates which batch size fits into GPU memory after a step ran out of it."""

from __future__ import annotations

import gc
from collections.abc import Callable

import lightning as L
import torch

from core.errors import UserError
from core.training.moco_module import Pretraining

MARGIN = 0.9  # usable fraction of the free memory: the rest is lost to fragmentation and library workspaces


def fitting_batch(peak: Callable[[int], float], requested: int, limit: float) -> int | None:
    """Estimate the largest batch size that fits, from steps with smaller batches.

    The memory of a step is a constant (weights, queue) plus a part proportional to the batch size; two sizes that fit
    determine both.

    Args:
        peak: runs a step with that many pairs and returns its peak memory, bytes; raises ``torch.OutOfMemoryError``.
        requested: the batch size that did not fit.
        limit: available memory, bytes.

    Returns:
        Pairs per step; None if not even four fit.
    """
    size = requested // 2
    while size >= 4:
        try:
            upper, lower = peak(size), peak(size // 2)
        except torch.OutOfMemoryError:
            size //= 2
            continue
        each = (upper - lower) / (size - size // 2)
        more = int(MARGIN * (limit - upper) / each) if each > 0 else 0
        return min(size + max(more, 0), requested - 1)
    return None


def out_of_memory(trainer: L.Trainer, module: Pretraining, checkpoint: str) -> UserError:
    """The error of a run that ran out of memory, with a batch size that would fit; destroys the module's state.

    ``checkpoint`` describes what there is to resume from.
    """
    requested, device = module.loader.batch_size, module.device
    if trainer.world_size > 1:  # a measurement would need all processes, and the others may not have failed
        advice = f"try half, --batch-size {requested // 2}"
    else:
        fits = fitting_batch(lambda pairs: _peak(module, pairs), requested, _limit(module))
        if fits is None:
            return UserError(
                f"--batch-size {requested}: no batch fits into the memory of {device}; use a smaller --arch"
            )
        advice = f"about {fits} fit: use --batch-size {fits}"
    return UserError(
        f"--batch-size {requested}: out of memory on {device}; {advice} (the learning rate is scaled automatically), "
        f"or --precision bf16-mixed; {checkpoint}"
    )


def _limit(module: Pretraining) -> int:
    """Bytes of the device that this process has or can allocate."""
    if module.device.type != "cuda":
        return 0  # a simulated device: only the measured sizes are known to fit
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(module.device)[0] + torch.cuda.memory_allocated(module.device)


def _peak(module: Pretraining, pairs: int) -> int:
    """Peak memory, bytes, of a step with that many pairs; changes the module, whose run is over."""
    info = module.loader.pairs.store.info
    chips = torch.zeros(pairs, len(info.bands), info.chip_size, info.chip_size, device=module.device)
    if module.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(module.device)
    views = module.views(chips)
    clusters = torch.zeros(pairs, dtype=torch.long, device=module.device)
    with module.trainer.precision_plugin.forward_context():
        module.moco(views, module.views(chips), clusters).total.backward()
    module.zero_grad()
    return torch.cuda.max_memory_allocated(module.device) if module.device.type == "cuda" else 0
