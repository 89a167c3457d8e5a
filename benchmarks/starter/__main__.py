"""``python -m benchmarks.starter``: see the package."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.learning.stores import ROOT
from benchmarks.starter import __doc__ as about
from benchmarks.starter.cards import publish
from benchmarks.starter.recipes import land_cover, land_use
from core.errors import run_command

MODELS = ("landuse", "landcover")


def main() -> int:
    """Make what is not made yet."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.starter", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"{' or '.join(MODELS)} (default: both)")
    parser.add_argument("--eurosat", type=Path, metavar="DIR", help="EuroSAT RGB: one tar and split_*.txt")
    parser.add_argument("--sample", type=Path, metavar="DIR", help="copy of the quickstart's sample")
    parser.add_argument(
        "--work", type=Path, default=Path("build/starter"), help="stores and runs (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "models", help="folder of the models (default: models)")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if unknown := set(options.models) - set(MODELS):
        parser.error(f"there is no recipe '{min(unknown)}'; choose {' or '.join(MODELS)}")
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    if options.sample:
        os.environ["GEOAWARE_SAMPLE"] = str(options.sample.resolve())  # where every command looks
    work = options.work.resolve()
    chosen = options.models or MODELS
    if "landuse" in chosen:
        publish(land_use(work, options.eurosat and options.eurosat.resolve(), options.device), options.out)
    if "landcover" in chosen:
        publish(land_cover(work, options.device), options.out)


if __name__ == "__main__":
    raise SystemExit(main())
