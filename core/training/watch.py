"""Says once, in plain words, when a pretraining goes wrong; ends it where nothing can come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from core.checkpoints import going_on
from core.errors import UserError
from core.method.moco import Losses

EVERY = 50  # steps between two looks: each look waits for the device
COLLAPSED = 0.1  # of Losses.feature_std, which is about 1 for a healthy representation
PATIENCE = 0.2  # share of the run after which the geo head should know more than chance


class Watch(L.Callback):
    """Looks at the losses of the last steps."""

    def __init__(self, out: Path, chance: float | None, steps: int) -> None:
        """Set up.

        Args:
            out: the run's folder, for the message.
            chance: share of the images in the most frequent geo cluster; None without a geo head.
            steps: of the whole run.
        """
        self.out, self.chance, self.steps = out, chance, steps
        self.recent: list[Tensor] = []
        self.said: set[str] = set()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the step's losses on the device; look at them now and then."""
        losses: Losses = pl_module.losses  # type: ignore[assignment]
        self.recent.append(torch.stack([losses.total, losses.geo_accuracy, losses.feature_std]))
        if len(self.recent) >= EVERY:
            self.look(trainer.global_step)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at what is left; too few steps for an opinion on anything but finite numbers."""
        self.look(trainer.global_step)

    def look(self, step: int) -> None:
        """Judge the steps since the last look.

        Raises:
            UserError: a loss is not finite.
        """
        if not self.recent:
            return
        recent, self.recent = torch.stack(self.recent).cpu(), []
        if not recent[:, 0].isfinite().all():
            first = step - len(recent) + 1 + int((~recent[:, 0].isfinite()).int().argmax())
            raise UserError(
                f"{self.out}: the loss was not a finite number at step {first}; lower --lr or raise --temperature, "
                f"and start again or --resume ({going_on(self.out / 'last.ckpt')})"
            )
        if len(recent) < EVERY:
            return
        accuracy, spread = float(recent[:, 1].mean()), float(recent[-1, 2])
        if spread < COLLAPSED:
            self._warn(
                "collapse",
                f"the features have collapsed (standard deviation {spread:.3f}, healthy is about 1): "
                "every image looks the same to the encoder; lower --lr or raise --temperature",
            )
        if self.chance is not None and step > PATIENCE * self.steps and accuracy <= self.chance:
            self._warn(
                "chance",
                f"the geo head is right in {accuracy:.1%}, no better than always naming the most frequent cluster "
                f"({self.chance:.1%}): check the places' coordinates, give fewer --clusters, or raise --lr",
            )

    def _warn(self, what: str, sentence: str) -> None:
        if what not in self.said:
            self.said.add(what)
            rank_zero_only(print)(f"\nwarning: {sentence}", flush=True)
