"""Command-line options that several sources share, and checks of their values."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from core.errors import UserError
from export.runtime.raster.gaps import RULES

OPTIONS: dict[str, dict] = {
    "--size": {"type": int, "required": True, "metavar": "PX", "help": "rows = columns of a chip, in pixels"},
    "--legend": {"type": Path, "metavar": "CSV", "help": "class table with the columns value, name, color (RRGGBB)"},
    "--unit": {"help": "what a pixel value means, e.g. 'reflectance x 10000'"},
    "--nodata-rule": {
        "choices": RULES, "default": "any",
        "help": "a pixel is empty where any band holds its nodata value, or only where all do (default %(default)s)",
    },
    "--min-valid": {
        "type": float, "default": 0.5, "metavar": "F", "help": "minimum fraction of valid pixels (default %(default)s)"
    },
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser, *names: str, **changes: object) -> None:
    """Add shared options, with ``changes`` to all of them."""
    for name in names:
        parser.add_argument(name, **(OPTIONS[name] | changes))


def check_range(arguments: argparse.Namespace, name: str, low: float, high: float = math.inf) -> None:
    """Refuse an option outside of a range, NaN too; an option that was not given passes.

    Raises:
        UserError: it names the option and the range.
    """
    value = getattr(arguments, name)
    if value is not None and not low <= value <= high:
        allowed = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise UserError(f"--{name.replace('_', '-')} {value:g}: must be {allowed}")


def check_size(arguments: argparse.Namespace) -> None:
    """Refuse chips that are too small to show anything."""
    check_range(arguments, "size", 8)


def check_positive(arguments: argparse.Namespace, name: str) -> None:
    """Refuse a pixel size that is not a positive number of metres."""
    value = getattr(arguments, name)
    if value is not None and not 0 < value < math.inf:
        raise UserError(f"--{name} {value:g}: must be more than 0 metres")
