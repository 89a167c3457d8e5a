"""The folder of a run with its settings and versions, and checks of options that commands share."""

from __future__ import annotations

import math
import platform
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from core.errors import UserError, first_line
from core.files import write_json
from core.version import version_and_commit


def start_run(
    out: Path, settings: dict[str, Any], *, overwrite: bool, resume: bool = False, fixed: Sequence[str] = ()
) -> None:
    """Create the folder and write the settings (a YAML file that --config reads) and the versions.

    ``overwrite`` replaces the folder, ``resume`` continues in it; options named in ``fixed`` cannot change on resume.

    Raises:
        UserError: the folder exists and may not be replaced, there is nothing to resume, or a fixed option changed.
    """
    for name in ("data", "encoder"):
        used = Path(settings[name]).resolve() if settings.get(name) else None
        if used and out.resolve() in (used, *used.parents):
            raise UserError(f"--out {out}: contains the --{name} of this run; choose another folder")
    if resume:
        checkpoint = out / "last.ckpt"
        if not checkpoint.is_file():
            raise UserError(f"{out}: has no last.ckpt to resume from; omit --resume to start the run")
        if not zipfile.is_zipfile(checkpoint):
            raise UserError(f"{checkpoint}: corrupt or truncated file; start again with --overwrite")
        _check_unchanged(out, settings, fixed)
    elif out.exists():
        if not overwrite:
            raise UserError(f"{out}: already exists; choose another --out, or add --overwrite to replace it")
        if not (out / "config.yaml").exists() and any(out.iterdir()):
            raise UserError(f"{out}: is not the folder of a run and will not be overwritten; choose another --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    kept = {name: _as_yaml(value) for name, value in settings.items() if name not in ("overwrite", "resume")}
    (out / "config.yaml").write_text(yaml.safe_dump(kept, sort_keys=False))
    versions = {"geoaware": version_and_commit(), "python": platform.python_version(), "torch": torch.__version__}
    write_json(out / "version.json", versions)


def settings_of(out: Path) -> dict[str, Any]:
    """The settings in the folder of a run; empty if it holds none. ``UserError`` if its config.yaml is not readable."""
    config = out / "config.yaml"
    try:
        found = yaml.safe_load(config.read_text()) if config.is_file() else None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{config}: is not readable as YAML ({first_line(error)}); restore or remove it") from error
    return found if isinstance(found, dict) else {}


def _check_unchanged(out: Path, settings: dict[str, Any], fixed: Sequence[str]) -> None:
    before = {"stride": 32, "geo_loss": "clusters"} | settings_of(out)  # runs of older versions name none
    now = {name: _as_yaml(settings[name]) for name in fixed if name in before}
    changed = [f"{_flag(name)} {before[name]} is now {now[name]}" for name in now if before[name] != now[name]]
    if changed:
        raise UserError(f"--resume: {', '.join(changed)}; resume with the original options")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _as_yaml(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def check_positive(**options: float | None) -> None:
    """Refuse options that are not above 0 and finite; None stands for an option that was not given."""
    for name, value in options.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{_flag(name)} {value}: must be above 0")


def check_seed(seed: int) -> None:
    """Refuse seeds that numpy and torch do not accept."""
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed {seed}: must be at least 0 and below {2**32}")


def pick_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is a GPU if there is one, else the CPU.

    Raises:
        UserError: the device is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise UserError(f"--device {name}: choose auto, cpu, cuda or mps")
        if device.type != "cuda":
            torch.empty(1, device=device)
        # Only counted: a tensor there would allocate memory of GPU 0 in each of torchrun's processes.
        elif (device.index or 0) >= torch.cuda.device_count():
            raise UserError(
                f"--device {name}: not available on this machine ({torch.cuda.device_count()} GPUs available to torch)"
            )
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: not available on this machine ({first_line(error)})") from error
    return device
