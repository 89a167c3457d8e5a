"""What every training run shares: checks of options, precision, processes, loggers, Lightning's loop."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from core.errors import UserError
from core.method.pairs import PairLoader
from core.networks.encoders import STRIDE, Encoder, faster_in_bf16
from core.training.checkpoints import AtomicCheckpointIO, Checkpoints, Stopped
from core.training.labelled import ShuffledLoader

MAX_VALIDATIONS = 10  # a run: with short epochs, more would take longer than training
_EXPECTED = (
    ".*does not have many workers",  # reading a batch is two array look-ups
    ".*Checkpoint directory .* exists and is not empty",  # on resume
    ".*GPU available but not used",
    ".*no `val_dataloader`",  # a store with few labels may have none there
    ".*treespec, LeafSpec",  # lightning 2.6 with torch 2.15
)


def check_choice(name: str, value: str, known: Collection[str]) -> None:
    """Raise ``UserError`` if the value of an option is not one of the known ones."""
    if value not in known:
        raise UserError(f"--{name} {value}: choose one of {', '.join(known)}")


def pick_precision(name: str, device: torch.device, size: int, stride: int) -> str:
    """``auto``: bf16 where it is faster and correct, with weights in fp32.

    On a CPU the bf16 gradient of a convolution with stride 2 over a map of one pixel is uninitialised memory
    (torch 2.15 with oneDNN: values up to 1e36). A network reaches such maps on images of half its ``stride``, px.

    Raises:
        UserError: an unknown name, or bf16 on a CPU for images of this size (rows = columns, px).
    """
    check_choice("precision", name, ("auto", "32-true", "bf16-mixed"))
    most = stride // 2
    wrong = device.type == "cpu" and size <= most
    if name == "auto":
        return "bf16-mixed" if faster_in_bf16(device, size) and not wrong else "32-true"
    if name == "bf16-mixed" and wrong:
        raise UserError(
            f"--precision bf16-mixed: gives wrong gradients on a CPU for images of up to {most} px, "
            f"and these have {size} px; choose auto or 32-true"
        )
    return name


def processes() -> tuple[int, int]:
    """Rank of this process and number of processes, as set by torchrun; (0, 1) without it."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def join_processes(device: torch.device) -> torch.device:
    """Initialise torch.distributed if torchrun started several processes; returns the device of this one."""
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", device.index or 0)))
        if device.index >= torch.cuda.device_count():
            raise UserError(f"torchrun --nproc-per-node: this machine has {torch.cuda.device_count()} GPUs")
        torch.cuda.set_device(device)
    if processes()[1] > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def make_loggers(entries: list[dict[str, Any]]) -> list[Logger]:
    """Lightning loggers from entries with ``class_path`` and ``init_args``; ``UserError`` if an entry is not valid."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--loggers", type=list[Logger])
    try:
        return parser.instantiate(parser.parse_object({"loggers": entries})).loggers
    except (ArgumentError, ImportError, TypeError, ValueError) as error:
        raise UserError(f"--loggers: {' '.join(str(error).split())}") from error


def fit(
    module: L.LightningModule,
    train: PairLoader | ShuffledLoader,
    val: DataLoader | None,
    options: SimpleNamespace,
    *,
    command: str,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    validations: int = MAX_VALIDATIONS,
) -> bool:
    """Train from the start or from the last checkpoint, on all of torchrun's processes; False if SIGTERM stopped it.

    ``options`` are those of the sub-command ``command`` of core.train, with the device and Lightning's name of the
    precision. Validations per run are at least one and at most ``MAX_VALIDATIONS``. Logs go to ``out/logs``, those of a
    resumed run to ``logs-2`` and so on.
    """
    out, device, epochs, steps = options.out, options.device, options.epochs, len(train)
    earlier = len(list(out.glob("logs*")))
    name = f"logs-{earlier + 1}" if earlier else "logs"
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in _EXPECTED:
        warnings.filterwarnings("ignore", message)
    log_every = max(1, min(10, steps, epochs * steps // 50))  # at least fifty points on the curve of a short run
    csv = CSVLogger(out, name="", version=name, flush_logs_every_n_steps=log_every)  # nothing is lost on a kill
    count = processes()[1]
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    stride = next((part.stride for part in module.modules() if isinstance(part, Encoder)), STRIDE)
    last = Checkpoints(out / "last.ckpt", train, epochs * steps, options.checkpoint_every, stride)
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index] if device.type == "cuda" and device.index is not None and count == 1 else local,
        num_nodes=count // local,
        # The queue is the same in every process; batch-norm statistics are each process's own (as in MoCo).
        strategy=DDPStrategy(broadcast_buffers=False) if count > 1 else "auto",
        plugins=[AtomicCheckpointIO()],
        precision=options.precision,
        logger=[csv, TensorBoardLogger(out, name="", version=name), *loggers],
        callbacks=[TQDMProgressBar(refresh_rate=10), *callbacks, last],
        default_root_dir=out,
        enable_model_summary=False,
        log_every_n_steps=log_every,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=max(1, epochs // max(1, min(validations, MAX_VALIDATIONS))),
    )
    try:
        trainer.fit(module, train, val, ckpt_path=last.path if options.resume else None, weights_only=False)
        return True
    except Stopped:
        if trainer.is_global_zero:
            again = f"python -m core.train {command} --config {out / 'config.yaml'} --resume"
            print(f"\nstopped after step {trainer.global_step}, checkpoint saved; resume with: {again}", flush=True)
        return False
