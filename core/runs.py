"""The folder of a run: settings, version, metrics; and what every training loop shares."""

from __future__ import annotations

import logging
import math
import os
import platform
import shutil
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
import yaml
from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

from core.checkpoints import WholeFile
from core.errors import UserError
from core.files import write_json
from core.networks.encoders import faster_in_bf16
from core.version import version_and_commit

LOOKS = 10  # at the validation places; short epochs would spend more on them than on learning
SMALL = 16  # px: a network of stride 32 comes to maps of one pixel before its last stage


def start_run(
    out: Path, settings: dict[str, Any], *, overwrite: bool, resume: bool = False, lasting: Sequence[str] = ()
) -> None:
    """Make the folder and keep the settings (a YAML file that --config reads) and the versions.

    Args:
        out: the folder.
        settings: the run's options.
        overwrite: replace the folder.
        resume: go on in the folder.
        lasting: options that a run cannot change when it goes on.

    Raises:
        UserError: the folder exists and may not be replaced, or there is nothing to resume, or other options are given.
    """
    for name in ("data", "encoder"):
        used = Path(settings[name]).resolve() if settings.get(name) else None
        if used and out.resolve() in (used, *used.parents):
            raise UserError(f"--out {out}: holds the --{name} of this run; choose another folder")
    if resume:
        if (out / "last.ckpt").is_file() and not zipfile.is_zipfile(out / "last.ckpt"):
            raise UserError(f"{out / 'last.ckpt'}: damaged; start again with --overwrite")
        if not (out / "last.ckpt").is_file():
            raise UserError(f"{out}: has no last.ckpt to resume from; leave out --resume to start it")
        _check_same(out / "config.yaml", settings, lasting)
    elif out.exists():
        if not overwrite:
            raise UserError(f"{out}: exists already; choose another --out, or add --overwrite to replace it")
        if not (out / "config.yaml").exists() and any(out.iterdir()):
            raise UserError(f"{out}: is not the folder of a run, so --overwrite leaves it alone; choose another --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    kept = {name: _plain(value) for name, value in settings.items() if name not in ("overwrite", "resume")}
    (out / "config.yaml").write_text(yaml.safe_dump(kept, sort_keys=False))
    write_json(
        out / "version.json",
        {"geoaware": version_and_commit(), "python": platform.python_version(), "torch": torch.__version__},
    )


def _check_same(config: Path, settings: dict[str, Any], lasting: Sequence[str]) -> None:
    """Refuse a resumed run with other options than its first part had."""
    before = (yaml.safe_load(config.read_text()) or {}) if config.is_file() else {}
    now = {name: _plain(settings[name]) for name in lasting}
    changed = [
        f"{_option(name)} {before[name]} is now {now[name]}" for name in now if before.get(name, now[name]) != now[name]
    ]
    if changed:
        raise UserError(f"--resume: {', '.join(changed)}; go on with the first part's options")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def check_positive(**options: float) -> None:
    """Refuse options that must be above 0 and finite."""
    for name, value in options.items():
        if not 0 < value < math.inf:
            raise UserError(f"{_option(name)} {value}: must be above 0")


def check_seed(seed: int) -> None:
    """Refuse what no random generator takes."""
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed {seed}: must be at least 0 and below {2**32}")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


def pick_device(name: str) -> torch.device:
    """``auto``: a GPU when there is one, else the CPU.

    Raises:
        UserError: the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise UserError(f"--device {name}: choose auto, cpu, cuda or mps")
        if (
            device.type == "cuda"
        ):  # only counted: a tensor there would cost each of torchrun's processes memory of GPU 0
            if (device.index or 0) >= torch.cuda.device_count():
                raise UserError(
                    f"--device {name}: not to be had here (GPUs that torch can use: {torch.cuda.device_count()})"
                )
        else:
            torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: not to be had here ({str(error).splitlines()[0]})") from error
    return device


def pick_precision(name: str, device: torch.device, size: int) -> str:
    """``auto``: bf16 where it is faster and right, with weights in fp32.

    On a CPU the gradient in bf16 of a convolution with stride 2 over a map of one pixel is memory never written
    to (torch 2.15 with oneDNN: values up to 1e36).

    Args:
        name: auto, 32-true or bf16-mixed.
        device: where it runs.
        size: rows = columns of the images, px.

    Raises:
        UserError: there is no such precision, or its gradients would be wrong.
    """
    wrong = device.type == "cpu" and size <= SMALL
    if name == "auto":
        return "bf16-mixed" if faster_in_bf16(device) and not wrong else "32-true"
    if name not in ("32-true", "bf16-mixed"):
        raise UserError(f"--precision {name}: choose auto, 32-true or bf16-mixed")
    if name == "bf16-mixed" and wrong:
        raise UserError(
            f"--precision bf16-mixed: gives wrong gradients on a CPU for images of up to {SMALL} px, and these have {size}; "
            "choose auto or 32-true"
        )
    return name


def processes() -> tuple[int, int]:
    """Rank of this process and number of processes, as torchrun says; (0, 1) without it."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def join_processes(device: torch.device) -> torch.device:
    """Let the processes that torchrun started find one another; returns this one's device.

    Raises:
        UserError: there are more processes than GPUs.
    """
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", device.index or 0)))
        if device.index >= torch.cuda.device_count():
            raise UserError(
                f"torchrun --nproc-per-node: give at most the {torch.cuda.device_count()} GPUs of this machine"
            )
        torch.cuda.set_device(device)
    if processes()[1] > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def from_first(value: Any) -> Any:
    """What the first process has, in every process."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def make_loggers(chosen: list[dict[str, Any]]) -> list[Logger]:
    """Lightning loggers of ``class_path`` and ``init_args`` entries, as in a configuration file.

    Raises:
        UserError: there is no such logger, or it does not take these arguments.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--loggers", type=list[Logger])
    try:
        return parser.instantiate(parser.parse_object({"loggers": chosen})).loggers
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
    looks: int = LOOKS,
) -> L.Trainer:
    """A Lightning trainer that logs to CSV and TensorBoard, on all processes that torchrun started.

    Args:
        out: the run's folder; logs go to ``logs``, those of a resumed run to ``logs-2`` and so on.
        epochs: passes over the data.
        steps: in one epoch.
        device: where it runs.
        precision: Lightning's name of it.
        callbacks: what else to do.
        loggers: beside CSV and TensorBoard.
        looks: how often validation may be asked; at least once, and ``LOOKS`` times at most.
    """
    earlier = len(list(out.glob("logs*")))
    version = f"logs-{earlier + 1}" if earlier else "logs"
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers")  # reading a batch is two array look-ups
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty")  # on resume
    warnings.filterwarnings("ignore", ".*GPU available but not used")
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec", FutureWarning)  # lightning 2.6 with torch 2.15
    log_every = max(1, min(10, steps, epochs * steps // 50))  # a curve of fifty points, in a short run too
    csv = CSVLogger(out, name="", version=version, flush_logs_every_n_steps=log_every)  # a kill loses no line
    count = processes()[1]
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    index = device.index if device.type == "cuda" and count == 1 else None
    return L.Trainer(
        max_epochs=epochs,
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[index] if index is not None else local,
        num_nodes=count // local,
        # The queue is the same everywhere, and batch-norm statistics are each process's own (as in MoCo).
        strategy=DDPStrategy(broadcast_buffers=False) if count > 1 else "auto",
        plugins=[WholeFile()],
        precision=precision,  # type: ignore[arg-type]
        logger=[csv, TensorBoardLogger(out, name="", version=version), *(loggers or [])],
        callbacks=[TQDMProgressBar(refresh_rate=10), *callbacks],
        default_root_dir=out,
        enable_model_summary=False,
        log_every_n_steps=log_every,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=max(1, epochs // max(1, min(looks, LOOKS))),
    )
