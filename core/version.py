"""The version of this code, in one place for runs, models and the plugin's zip."""

from __future__ import annotations

import configparser
import importlib.metadata
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the checkout, or the folder that an installation imports from
_METADATA = ROOT / "metadata.txt"  # the plugin's; only a checkout has it


def version() -> str:
    """The number in the checkout's ``metadata.txt``, or that of the installed package."""
    if not _METADATA.is_file():
        return importlib.metadata.version("geoaware")
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read_string(_METADATA.read_text("utf-8"))
    return metadata["general"]["version"]


def version_and_commit() -> str:
    """The version and, in a git checkout, the commit: ``0.1.0+51240bc-dirty``."""
    if not _METADATA.is_file():  # git would describe whatever repository the environment lies in
        return version()
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # git is not installed
        return version()
    return f"{version()}+{done.stdout.strip()}" if done.returncode == 0 else version()
