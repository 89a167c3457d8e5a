"""MoCo in Lightning's loop: the module, the check of its losses, and the batch size that fits into GPU memory."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from core.errors import UserError
from core.evaluation.probe import knn_accuracy
from core.method.moco import Losses, MoCo
from core.method.pairs import PairBatch, PairLoader
from core.method.views import PAIR_VIEW, Draw, Views, as_float
from core.store.read import ChipStore
from core.training.checkpoints import checkpoint_state

EVERY = 50  # steps between two checks of the losses: each waits for the device
COLLAPSED = 0.1  # of Losses.feature_std, which is about 1 for a healthy representation
PATIENCE = 0.2  # fraction of the run after which the geo head should beat chance
# Learning rates of a batch of 256 (scaled with the batch size, or its root), and the warm-up, a fraction of the run.
OPTIMIZERS = {"sgd": 0.06, "adamw": 0.001}
WARM_UP = {"sgd": 0.0, "adamw": 0.05}
MARGIN = 0.9  # usable fraction of the free memory: the rest is lost to fragmentation and library workspaces


class Pretraining(L.LightningModule):
    """MoCo pretraining. No step synchronises with the device."""

    losses: Losses  # of the last step, for callbacks

    def __init__(
        self,
        moco: MoCo,
        views: Views,
        loader: PairLoader,
        lr: float,
        steps: int,
        *,
        optimizer: str = "adamw",
        pair_views: str = PAIR_VIEW,
    ) -> None:
        """Train with ``lr``, already scaled, for ``steps`` steps."""
        super().__init__()
        self.moco, self.views, self.loader, self.lr, self.steps = moco, views, loader, lr, steps
        self.optimizer, self.pair_views = optimizer, pair_views

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """One batch of pairs."""
        im_q, im_k = self.pair_of_views(batch)
        again = self.view_again(batch)
        keep = self.view_to_keep(batch)
        losses = self.moco(im_q, im_k, batch.cluster, batch.places, batch.order, again, batch.alone, keep)
        self.losses = replace(losses, total=losses.total.detach())
        logged = {"loss" if name == "total" else name: value for name, value in vars(self.losses).items()}
        self.log_dict(logged, sync_dist=self.trainer.world_size > 1)
        self.log("total", self.losses.total, prog_bar=True, logger=False)
        if (batch.step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.log("data_wait", self.loader.data_wait, rank_zero_only=True)
        return losses.total

    @torch.no_grad()
    def pair_of_views(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Two (n, bands, rows, cols) float32 batches; their parameters are a function of the seed and the step.

        Two views of one image always have a geometry each.
        """
        draw = self._draw(batch)
        with torch.autocast(self.device.type, enabled=False):
            queries, keys = as_float(batch.queries, batch.query_valid), as_float(batch.keys, batch.key_valid)
            if self.pair_views == "independent":
                return self.views(queries, draw), self.views(keys, draw)
            # Of the whole batch, since keys come in another order than queries.
            one, other = self.views.crops_of_pairs(draw.of_all(), batch.alone, self.pair_views, queries.shape[-1])
            own = self.loader.share
            return self.views(queries, draw, one[own]), self.views(keys, draw, other[batch.order[own]])

    @torch.no_grad()
    def view_again(self, batch: PairBatch) -> Tensor | None:
        """Another view of the queries' own images, (n, bands, rows, cols), in the order of the keys; None if not read."""
        if batch.again is None:
            return None
        with torch.autocast(self.device.type, enabled=False):
            return self.views(as_float(batch.again, batch.again_valid), self._draw(batch, 1))

    @torch.no_grad()
    def view_to_keep(self, batch: PairBatch) -> Tensor | None:
        """A crop of the queries for the embedding that keeps the season, where their pairs are whole and it has a partner.

        Whole images are too easily told apart: crops are what that embedding learns from. None where one view serves both.
        """
        if self.moco.season != "both" or self.pair_views != "whole":
            return None
        with torch.autocast(self.device.type, enabled=False):
            return self.views(as_float(batch.queries, batch.query_valid), self._draw(batch, 2))

    def _draw(self, batch: PairBatch, *purpose: int) -> Draw:
        """This process's part of the step's random numbers."""
        generator = torch.Generator(self.device)
        seeds = np.random.SeedSequence([self.loader.pairs.seed, batch.step, *purpose]).generate_state(1, np.uint64)
        generator.manual_seed(int(seeds[0] >> np.uint64(1)))
        return Draw(len(batch.order), self.device, self.loader.share, generator)

    def on_train_epoch_end(self) -> None:
        """Log the kNN accuracy on the validation places."""
        done, every = self.current_epoch + 1, self.trainer.check_val_every_n_epoch or 1
        if done % every and done != self.trainer.max_epochs:
            return
        if self.trainer.is_global_zero:
            # Compiling again for one evaluation would be slow; set_stance itself imports torch's compiler.
            compiled = getattr(self.moco.encoder_q[0], "_compiled_call_impl", None) is not None
            with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
                accuracy = validation_knn(self.moco.encoder_q[0], self.loader.pairs.store, self.device)
            if accuracy is not None:
                self.log("val_knn", accuracy, prog_bar=True, rank_zero_only=True)
        self.moco.train()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """SGD as in the paper, or AdamW after a warm-up; both with a cosine schedule per step."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer: torch.optim.Optimizer
        if self.optimizer == "adamw":
            optimizer = torch.optim.AdamW(parameters, self.lr, fused=True)
        else:
            optimizer = torch.optim.SGD(parameters, self.lr, momentum=0.9, weight_decay=1e-4, fused=True)
        warm = max(1, round(WARM_UP[self.optimizer] * self.steps))

        # A function of the step only, so that a resumed run with more epochs follows its own cosine.
        def rate(step: int) -> float:
            return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def scaled_lr(optimizer: str, lr: float | None, batch_size: int) -> float:
    """Learning rate of a batch size from that of 256 (the optimizer's own by default).

    Proportional to the batch size for SGD (Goyal et al. 2017, arXiv 1706.02677), to its square root for AdamW (Malladi et
    al. 2022, arXiv 2205.10287).
    """
    ratio = batch_size / 256
    return (OPTIMIZERS[optimizer] if lr is None else lr) * (ratio if optimizer == "sgd" else ratio**0.5)


def validation_knn(encoder: torch.nn.Module, store: ChipStore, device: torch.device) -> float | None:
    """KNN accuracy on validation places, one date each; None without labels. Of large stores a fixed sample is used."""
    places = store.places[store.places["label"] >= 0]
    sides = []
    for name, most in (("train", 4096), ("val", 1024)):
        side = places[places["split"] == name]
        if side.empty:
            return None
        side = side.sample(min(most, len(side)), random_state=0)
        sides.append((side["first"].to_numpy(), side["label"].to_numpy()))
    return knn_accuracy(encoder, store, sides[0], sides[1], device)


class Watch(L.Callback):
    """Warns once when a pretraining degenerates; ends it when its loss is not finite."""

    def __init__(self, out: Path, chance: float | None, steps: int) -> None:
        """``chance``: fraction of the images in the most frequent geo cluster; None without a geo head."""
        self.out, self.chance, self.steps = out, chance, steps
        self.recent: list[Tensor] = []
        self.warned: set[str] = set()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the step's losses on the device; check them every ``EVERY`` steps."""
        losses: Losses = pl_module.losses  # type: ignore[assignment]
        self.recent.append(torch.stack([losses.total, losses.geo_accuracy, losses.feature_std]))
        if len(self.recent) >= EVERY:
            self.check(trainer.global_step)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check the remaining steps: only whether they are finite."""
        self.check(trainer.global_step)

    def check(self, step: int) -> None:
        """Check the steps since the last check; ``UserError`` if a loss is not finite."""
        if not self.recent:
            return
        recent, self.recent = torch.stack(self.recent).cpu(), []
        if not recent[:, 0].isfinite().all():
            first = step - len(recent) + 1 + int((~recent[:, 0].isfinite()).int().argmax())
            raise UserError(
                f"{self.out}: the loss is not finite at step {first}; lower --lr or raise --temperature, "
                f"then restart or --resume ({checkpoint_state(self.out / 'last.ckpt')})"
            )
        if len(recent) < EVERY:
            return
        accuracy, spread = float(recent[:, 1].mean()), float(recent[-1, 2])
        if spread < COLLAPSED:
            self._warn(
                "collapse",
                f"the features have collapsed (standard deviation {spread:.3f}, about 1 is healthy): "
                "the encoder maps every image to the same vector; lower --lr or raise --temperature",
            )
        if self.chance is not None and step > PATIENCE * self.steps and accuracy <= self.chance:
            self._warn(
                "chance",
                f"geo accuracy is {accuracy:.1%}, no better than always predicting the most frequent cluster "
                f"({self.chance:.1%}): check the places' coordinates, lower --clusters, or raise --lr",
            )

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self.warned:
            self.warned.add(kind)
            rank_zero_only(print)(f"\nwarning: {message}", flush=True)


def fitting_batch(peak: Callable[[int], float], requested: int, limit: float) -> int | None:
    """Estimate the largest number of pairs per step that fits into ``limit`` bytes; None if not even four fit.

    The memory of a step is a constant (weights, queue) plus a part proportional to the batch size; two sizes that fit
    determine both. ``peak`` runs a step and returns its peak memory, bytes, or raises ``torch.OutOfMemoryError``.
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


def out_of_memory(module: Pretraining, out: Path) -> UserError:
    """The error of a run that ran out of memory, with a batch size that would fit; destroys the module's state."""
    requested, device = module.loader.batch_size, module.device
    if module.trainer.world_size > 1:  # a measurement would need all processes, and the others may not have failed
        advice = f"try half, --batch-size {requested // 2}"
    else:
        limit = 0  # a simulated device: only the measured sizes are known to fit
        if device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            limit = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_allocated(device)
        fits = fitting_batch(lambda pairs: _peak(module, pairs), requested, limit)
        if fits is None:
            return UserError(
                f"--batch-size {requested}: no batch fits into the memory of {device}; use a smaller --arch"
            )
        advice = f"about {fits} fit: use --batch-size {fits}"
    return UserError(
        f"--batch-size {requested}: out of memory on {device}; {advice} (the learning rate is scaled automatically), "
        f"or --precision bf16-mixed; {checkpoint_state(out / 'last.ckpt')}"
    )


def _peak(module: Pretraining, pairs: int) -> int:
    """Peak memory, bytes, of a step with that many pairs; changes the module, whose run is over."""
    info, device = module.loader.pairs.store.info, module.device
    chips = torch.zeros(pairs, len(info.bands), info.chip_size, info.chip_size, device=device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    views, clusters = module.views(chips), torch.zeros(pairs, dtype=torch.long, device=device)
    again = None if module.moco.season == "ignore" else module.views(chips)
    with module.trainer.precision_plugin.forward_context():
        keep = module.views(chips) if again is not None and module.pair_views == "whole" else None
        module.moco(views, module.views(chips), clusters, clusters, im_again=again, im_keep=keep).total.backward()
    module.zero_grad()
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
