"""What every training run shares: device, precision, processes, loggers, Lightning's trainer."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

from core.errors import UserError
from core.networks.encoders import faster_in_bf16
from core.training.checkpoints import AtomicCheckpointIO

MAX_VALIDATIONS = 10  # a run: with short epochs, more would take longer than training
SMALL = 16  # px: a network of stride 32 reaches maps of one pixel before its last stage


def pick_precision(name: str, device: torch.device, size: int) -> str:
    """``auto``: bf16 where it is faster and correct, with weights in fp32.

    On a CPU the bf16 gradient of a convolution with stride 2 over a map of one pixel is uninitialised memory
    (torch 2.15 with oneDNN: values up to 1e36).

    Raises:
        UserError: an unknown name, or bf16 on a CPU for images of this size (rows = columns, px).
    """
    wrong = device.type == "cpu" and size <= SMALL
    if name == "auto":
        return "bf16-mixed" if faster_in_bf16(device) and not wrong else "32-true"
    if name not in ("32-true", "bf16-mixed"):
        raise UserError(f"--precision {name}: choose auto, 32-true or bf16-mixed")
    if name == "bf16-mixed" and wrong:
        raise UserError(
            f"--precision bf16-mixed: gives wrong gradients on a CPU for images of up to {SMALL} px, "
            f"and these have {size} px; choose auto or 32-true"
        )
    return name


def processes() -> tuple[int, int]:
    """Rank of this process and number of processes, as set by torchrun; (0, 1) without it."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def join_processes(device: torch.device) -> torch.device:
    """Initialise torch.distributed if torchrun started several processes; returns the device of this one.

    Raises:
        UserError: there are more processes than GPUs.
    """
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", device.index or 0)))
        if device.index >= torch.cuda.device_count():
            raise UserError(f"torchrun --nproc-per-node: this machine has {torch.cuda.device_count()} GPUs")
        torch.cuda.set_device(device)
    if processes()[1] > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def from_first(value: Any) -> Any:
    """Broadcast the value of the first process to all processes."""
    if not dist.is_initialized():
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def make_loggers(entries: list[dict[str, Any]]) -> list[Logger]:
    """Lightning loggers from entries with ``class_path`` and ``init_args``, as in a configuration file.

    Raises:
        UserError: there is no such logger, or it does not accept these arguments.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--loggers", type=list[Logger])
    try:
        return parser.instantiate(parser.parse_object({"loggers": entries})).loggers
    except (ArgumentError, ImportError, TypeError, ValueError) as error:
        raise UserError(f"--loggers: {' '.join(str(error).split())}") from error


def make_trainer(
    out: Path,
    *,
    epochs: int,
    steps: int,
    device: torch.device,
    precision: str,
    callbacks: list[Callback],
    loggers: list[Logger] | None = None,
    validations: int = MAX_VALIDATIONS,
) -> L.Trainer:
    """A Lightning trainer that logs to CSV and TensorBoard, on all processes that torchrun started.

    Logs go to ``out/logs``, those of a resumed run to ``logs-2`` and so on. ``steps`` are those of one epoch;
    ``validations`` per run are at least one and at most ``MAX_VALIDATIONS``.
    """
    earlier = len(list(out.glob("logs*")))
    name = f"logs-{earlier + 1}" if earlier else "logs"
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers")  # reading a batch is two array look-ups
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty")  # on resume
    warnings.filterwarnings("ignore", ".*GPU available but not used")
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec", FutureWarning)  # lightning 2.6 with torch 2.15
    log_every = max(1, min(10, steps, epochs * steps // 50))  # at least fifty points on the curve of a short run
    csv = CSVLogger(out, name="", version=name, flush_logs_every_n_steps=log_every)  # nothing is lost on a kill
    count = processes()[1]
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    index = device.index if device.type == "cuda" and count == 1 else None
    return L.Trainer(
        max_epochs=epochs,
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[index] if index is not None else local,
        num_nodes=count // local,
        # The queue is the same in every process; batch-norm statistics are each process's own (as in MoCo).
        strategy=DDPStrategy(broadcast_buffers=False) if count > 1 else "auto",
        plugins=[AtomicCheckpointIO()],
        precision=precision,  # type: ignore[arg-type]
        logger=[csv, TensorBoardLogger(out, name="", version=name), *(loggers or [])],
        callbacks=[TQDMProgressBar(refresh_rate=10), *callbacks],
        default_root_dir=out,
        enable_model_summary=False,
        log_every_n_steps=log_every,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=max(1, epochs // max(1, min(validations, MAX_VALIDATIONS))),
    )
