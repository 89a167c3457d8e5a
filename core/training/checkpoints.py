"""Writes ``last.ckpt`` of a run: often enough, atomically, and when the process gets SIGTERM.

Under torchrun, SIGTERM to any process stops all of them, each with exit code 0. SIGTERM to torchrun itself is passed
on to the processes; 30 seconds later torchrun exits with code 1 and its own traceback, whatever their exit codes.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from core.errors import UserError, first_line
from core.files import flush
from core.method.pairs import PairLoader
from core.networks.encoders import STRIDE
from core.training.labelled import ShuffledLoader

MAX_INTERVAL = 120.0  # seconds of training that a kill can lose
MIN_INTERVAL = 30.0  # seconds between the ten regular checkpoints, so that short runs do not only write
SYNC_STEPS = 10  # steps between two points where the processes agree whether to save or stop


class Stopped(Exception):
    """The run got SIGTERM and has saved a checkpoint."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file and renames it: the previous one stays until the new one is complete."""

    failed: str | None = None  # why the last write failed; not raised, because the other processes wait for this one

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write the checkpoint; on failure the previous file is untouched."""
        partial = Path(f"{path}.partial")
        self.failed = None
        try:
            torch.save(checkpoint, partial)
            flush(partial)
            partial.replace(path)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError when the disk is full
            partial.unlink(missing_ok=True)
            self.failed = f"{path}: cannot be written ({first_line(error)})"


class Checkpoints(Checkpoint):
    """Saves ten times a run and every two minutes, or every given number of steps; on SIGTERM saves and stops."""

    def __init__(
        self,
        path: Path,
        loader: PairLoader | ShuffledLoader,
        steps: int,
        every: int | None = None,
        stride: int = STRIDE,
    ) -> None:
        """``steps`` are those of the run; ``every`` replaces the intervals above; ``stride`` is the encoder's."""
        self.stride = stride
        self.path, self.loader, self.steps, self.every = path, loader, steps, every
        self.due = self.sigterm = False
        self.saved = time.monotonic()
        self.random: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Position of the data, and the states of all global random generators."""
        states = {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "python": random.getstate()}  # noqa: NPY002
        if torch.cuda.is_initialized():
            states["cuda"] = torch.cuda.get_rng_state()
        return {"random": states, "loader": self.loader.state_dict(), "stride": self.stride}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the position; the generators are restored when training starts, since set-up may draw from them.

        Raises:
            UserError: the weights are of an encoder of another stride, which no shape of theirs shows.
        """
        if (stride := state_dict.get("stride", STRIDE)) != self.stride:
            raise UserError(
                f"{self.path}: its encoder has a stride of {stride} px, but that of this run {self.stride}: the --encoder was "
                "replaced; give the original one, or start again with --overwrite"
            )
        self.loader.load_state_dict(state_dict["loader"])  # Lightning does so only in the middle of an epoch
        self.random = state_dict["random"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restore the random generators; handle SIGTERM."""
        if self.random:
            torch.set_rng_state(self.random["torch"])
            np.random.set_state(self.random["numpy"])  # noqa: NPY002
            random.setstate(self.random["python"])
            if "cuda" in self.random and torch.cuda.is_available():
                torch.cuda.set_rng_state(self.random["cuda"])
        self.saved = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)  # Lightning restores the previous handler

    def _on_sigterm(self, number: int, frame: Any) -> None:
        self.sigterm = True

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save or stop if due; at the end of an epoch only after its metrics, so that these are saved too."""
        step = trainer.global_step
        self.due = self.due or self._is_due(step)
        # Asking the other processes takes time, so it is done rarely, and at the same steps in all of them.
        synced = trainer.world_size == 1 or step % (self.every or SYNC_STEPS) == 0 or step % SYNC_STEPS == 0
        if not trainer.is_last_batch and synced:
            self._save_or_stop(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save or stop if due; always save at the end of the run."""
        self.due = self.due or trainer.global_step >= self.steps
        self._save_or_stop(trainer)

    def _is_due(self, step: int) -> bool:
        if self.every is not None:
            return step % self.every == 0
        passed = time.monotonic() - self.saved
        return passed > MAX_INTERVAL or (step % max(1, self.steps // 10) == 0 and passed > MIN_INTERVAL)

    def _save_or_stop(self, trainer: L.Trainer) -> None:
        stop = trainer.strategy.reduce_boolean_decision(self.sigterm, all=False)
        if stop or trainer.strategy.reduce_boolean_decision(self.due, all=False):
            self._save(trainer, required=stop)
        if stop:
            raise Stopped

    def _save(self, trainer: L.Trainer, required: bool) -> None:
        self.due, self.saved = False, time.monotonic()
        weights = [p.detach() for p in trainer.lightning_module.parameters() if p.requires_grad]
        if not torch.nn.utils.get_total_norm(weights).isfinite():
            raise UserError(
                f"{self.path.parent}: the weights are not finite after step {trainer.global_step}; "
                f"lower --lr or raise --temperature; {checkpoint_state(self.path)}"
            )
        trainer.save_checkpoint(self.path)
        failed = getattr(trainer.strategy.checkpoint_io, "failed", None)
        if failed and required:
            raise UserError(f"{failed}; {checkpoint_state(self.path)}")
        if failed:
            print(f"\nwarning: {failed}; training continues; {checkpoint_state(self.path)}", flush=True)


def checkpoint_state(path: Path) -> str:
    """Which checkpoint a failed run leaves to resume from."""
    return f"{path.name} is from an earlier step" if path.exists() else f"no {path.name} was saved yet"
