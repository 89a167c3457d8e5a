"""Keeps ``last.ckpt`` of a run: often enough, whole or not at all, and when the machine asks to stop.

Under torchrun any process that gets SIGTERM stops them all, and each ends with 0. A torchrun that is itself
sent SIGTERM passes it on and waits 30 seconds; then it ends with 1 and a traceback of its own, whatever its
processes said.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from torch.utils.data import DataLoader

from core.errors import UserError, first_line
from core.files import flush

SECONDS = 120.0  # the most that a kill costs
AT_LEAST = 10.0  # seconds between two of the ten that a run has anyway, so that short runs do not only write
TOGETHER = 10  # steps after which processes agree whether one of them must save or stop


class Loader(Protocol):
    """Batches in an order that can be taken up again in the middle of an epoch."""

    def __len__(self) -> int:
        """Steps in an epoch."""

    def __iter__(self) -> Iterator[Any]:
        """What is left of the epoch."""

    def state_dict(self) -> dict[str, int]:
        """Where the run is."""

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on there."""


class Stopped(Exception):
    """The run was asked to stop (SIGTERM), and has saved."""


class WholeFile(TorchCheckpointIO):
    """Writes a checkpoint aside and renames it: the last good one stays until the new one is complete.

    Attributes:
        failed: what the last write said, where it failed; not raised, because only one of several processes
            writes, and the others wait for it.
    """

    failed: str | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write; when that fails, the file that was there is untouched."""
        partial = Path(f"{path}.partial")
        self.failed = None
        try:
            torch.save(checkpoint, partial)
            flush(partial)
            partial.replace(path)
        except (OSError, RuntimeError) as error:  # torch says RuntimeError when the disk is full
            partial.unlink(missing_ok=True)
            self.failed = f"{path}: cannot be written ({first_line(error)})"


class Checkpoints(Checkpoint):
    """Saves ten times a run, and every two minutes; or every so many steps. SIGTERM saves and stops."""

    def __init__(self, path: Path, loader: Loader, steps: int, every: int | None = None) -> None:
        """Set up.

        Args:
            path: of the checkpoint.
            loader: of the training data; where it stands is kept too.
            steps: of the whole run.
            every: steps from one checkpoint to the next, instead of the times above.
        """
        self.path, self.loader, self.steps, self.every = path, loader, steps, every
        self.due = self.asked_to_stop = False
        self.saved = time.monotonic()
        self.random: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Where the data stands, and the states of everything random, for what draws from them."""
        states = {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "python": random.getstate()}  # noqa: NPY002
        if torch.cuda.is_initialized():
            states["cuda"] = torch.cuda.get_rng_state()
        return {"random": states, "loader": self.loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on there; the random states wait until training starts, since what comes before may draw too."""
        self.loader.load_state_dict(state_dict["loader"])  # Lightning does so only in the middle of an epoch
        self.random = state_dict["random"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on with the random states; answer to SIGTERM."""
        if self.random:
            torch.set_rng_state(self.random["torch"])
            np.random.set_state(self.random["numpy"])  # noqa: NPY002
            random.setstate(self.random["python"])
            if "cuda" in self.random and torch.cuda.is_available():
                torch.cuda.set_rng_state(self.random["cuda"])
        self.saved = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._ask)  # Lightning puts back what was there before it

    def _ask(self, number: int, frame: Any) -> None:
        self.asked_to_stop = True

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save or stop, if it is time."""
        self.due = self.due or self._is_due(trainer.global_step)
        # The end of an epoch saves after its measurements, so that these are not lost.
        if not trainer.is_last_batch and self._may_act(trainer):
            self._act(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Likewise; the end of the run always saves."""
        self.due = self.due or trainer.global_step >= self.steps
        self._act(trainer)

    def _is_due(self, step: int) -> bool:
        if self.every is not None:
            return step % self.every == 0
        passed = time.monotonic() - self.saved
        return passed > SECONDS or (step % max(1, self.steps // 10) == 0 and passed > AT_LEAST)

    def _may_act(self, trainer: L.Trainer) -> bool:
        """Whether all processes are at this point: asking one another takes time, so they do it rarely."""
        step = trainer.global_step
        return trainer.world_size == 1 or step % TOGETHER == 0 or (self.every is not None and step % self.every == 0)

    def _act(self, trainer: L.Trainer) -> None:
        stop = trainer.strategy.reduce_boolean_decision(self.asked_to_stop, all=False)
        if stop or trainer.strategy.reduce_boolean_decision(self.due, all=False):
            self._save(trainer, must=stop)
        if stop:
            raise Stopped

    def _save(self, trainer: L.Trainer, must: bool) -> None:
        self.due, self.saved = False, time.monotonic()
        weights = [p.detach() for p in trainer.lightning_module.parameters() if p.requires_grad]
        if not torch.nn.utils.get_total_norm(weights).isfinite():
            raise UserError(
                f"{self.path.parent}: the weights are no longer finite numbers after step {trainer.global_step}; "
                f"lower --lr or raise --temperature, and {going_on(self.path)}"
            )
        trainer.save_checkpoint(self.path)
        failed = getattr(trainer.strategy.checkpoint_io, "failed", None)
        if failed and must:
            raise UserError(f"{failed}; {going_on(self.path)}")
        if failed:
            print(f"\nwarning: {failed}; the run goes on, and {going_on(self.path)}", flush=True)


def fit(
    trainer: L.Trainer, module: L.LightningModule, train: Loader, val: DataLoader | None, *, command: str, resume: bool
) -> bool:
    """Train from the start, or from the run's last checkpoint.

    Args:
        trainer: of the run.
        module: what learns.
        train: what it learns from.
        val: what it is validated with.
        command: sub-command of core.train, for the line that goes on with a stopped run.
        resume: go on from the last checkpoint.

    Returns:
        Whether the run came to its end.
    """
    out = Path(trainer.default_root_dir)
    try:
        trainer.fit(module, train, val, ckpt_path=str(out / "last.ckpt") if resume else None, weights_only=False)
        return True
    except Stopped:
        if trainer.is_global_zero:
            again = f"python -m core.train {command} --config {out / 'config.yaml'} --resume"
            print(f"\nstopped after step {trainer.global_step}, saved; go on with: {again}", flush=True)
        return False


def going_on(path: Path) -> str:
    """What is left to go on from."""
    return f"{path.name} is of an earlier step" if path.exists() else f"there is no {path.name} yet"
