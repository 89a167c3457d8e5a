"""Warns once when a pretraining degenerates; ends it when its loss is not finite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from core.errors import UserError
from core.method.moco import Losses
from core.training.checkpoints import checkpoint_state

EVERY = 50  # steps between two checks: each waits for the device
COLLAPSED = 0.1  # of Losses.feature_std, which is about 1 for a healthy representation
PATIENCE = 0.2  # fraction of the run after which the geo head should beat chance


class Watch(L.Callback):
    """Checks the losses of the last steps."""

    def __init__(self, out: Path, chance: float | None, steps: int) -> None:
        """``chance`` is the fraction of the images in the most frequent geo cluster; None without a geo head."""
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
        """Check the steps since the last check.

        Raises:
            UserError: a loss is not finite.
        """
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
