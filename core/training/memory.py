"""Which batch size fits into a GPU where the one asked for did not."""

from __future__ import annotations

import gc
from collections.abc import Callable

import lightning as L
import torch

from core.errors import UserError
from core.training.moco_module import Pretraining

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
        Pairs in a step; None where not even four fit.
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


def too_large(trainer: L.Trainer, module: Pretraining, queue: int, left: str) -> UserError:
    """The error of a run whose step did not fit: which batch size would.

    Args:
        trainer: of the run.
        module: likewise; what it has learned is lost.
        queue: its length.
        left: what there is to go on from.
    """
    asked = module.loader.batch_size
    if trainer.world_size > 1:  # a step waits for all processes, and the others may have had room
        return _too_large(asked, module, f"take half, --batch-size {asked // 2}", left)
    fits = fitting_batch(lambda n: _peak(module, n), asked, _limit(module), queue)
    if fits is None:
        return UserError(
            f"--batch-size {asked}: no batch fits into the memory of {module.device}; take a smaller --arch"
        )
    return _too_large(asked, module, f"about {fits} fit: give --batch-size {fits}", left)


def _too_large(asked: int, module: Pretraining, advice: str, left: str) -> UserError:
    return UserError(
        f"--batch-size {asked}: too much for the memory of {module.device}; {advice} (the learning rate follows by "
        f"itself), or --precision bf16-mixed; {left}"
    )


def _limit(module: Pretraining) -> int:
    """Bytes of the device that this process has or could have."""
    if module.device.type != "cuda":
        return 0  # a simulated device: the sizes that ran are all that is known
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(module.device)[0] + torch.cuda.memory_allocated(module.device)


def _peak(module: Pretraining, pairs: int) -> int:
    """Most memory, bytes, of a step with so many pairs; the run is over, so what it changes does not matter."""
    info = module.loader.pairs.store.info
    chips = torch.zeros(pairs, len(info.bands), info.chip_size, info.chip_size, device=module.device)
    if module.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(module.device)
    views = module.views(chips)
    nowhere = torch.zeros(pairs, dtype=torch.long, device=module.device)
    with module.trainer.precision_plugin.forward_context():
        module.moco(views, module.views(chips), nowhere).total.backward()
    module.zero_grad()
    return torch.cuda.max_memory_allocated(module.device) if module.device.type == "cuda" else 0
