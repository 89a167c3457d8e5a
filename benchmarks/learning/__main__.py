"""``python -m benchmarks.learning``: see the package."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.learning import __doc__ as about
from benchmarks.learning import eurosat, page
from benchmarks.learning.choices import write_section
from benchmarks.learning.jobs import Bench, Job, Plan, measure_pace
from benchmarks.learning.lanes import keep, read_results, run_all
from benchmarks.learning.references import REFERENCES, add_option
from benchmarks.learning.stores import ROOT, make_store
from core.errors import run_command

SOURCES = ("bluemarble", "peru", "eurosat", "dubai")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sample", type=Path, help="copy of the quickstart's sample (default: as the quickstart finds it)"
    )
    for name in SOURCES[1:]:
        parser.add_argument(f"--{name}", type=Path, help="folder of its files (default: not measured)")
    parser.add_argument("--seeds", type=int, default=Plan.seeds)
    parser.add_argument(
        "--minutes", type=float, default=Plan.minutes, help="minutes of pretraining on Blue Marble (default 3)"
    )
    parser.add_argument(
        "--eurosat-minutes",
        type=float,
        default=Plan.eurosat_minutes,
        help="minutes of pretraining on EuroSAT (default 15)",
    )
    parser.add_argument("--curve", type=float, nargs="*", default=list(Plan.curve), help="further budgets in minutes")
    add_option(parser)
    parser.add_argument("--work", type=Path, default=Path("build/learning"), help="stores, runs, results.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks" / "learning.md")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--lanes", type=int, default=None, help="parallel jobs (default: one per core, at most 4; 1 on a GPU)"
    )
    parser.add_argument("--only-page", action="store_true", help="only write the page from existing results")
    parser.add_argument("--quick", action="store_true", help="one epoch of everything, as a test")
    return parser


def main() -> int:
    """Measure what is not measured yet, and write the page."""
    options = _parser().parse_args()
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    folders = {"bluemarble": options.sample} | {name: getattr(options, name) for name in SOURCES[1:]}
    names = tuple(name for name in SOURCES if name == "bluemarble" or folders[name])
    references = tuple(REFERENCES) if options.references else ()
    plan = Plan(
        names,
        options.seeds,
        options.minutes,
        tuple(options.curve),
        eurosat_minutes=options.eurosat_minutes,
        references=references,
    )
    options.work.mkdir(parents=True, exist_ok=True)
    results = options.work / "results.jsonl"
    if not options.only_page:
        for name in names:
            make_store(name, folders[name], options.work)
        bench = Bench(options.work, options.device, {}, options.quick, options.references)
        if not options.quick:
            _measure_paces(bench, names, results)
        run_all(bench, plan.jobs(), results, options.lanes or _lanes(options.device))
    page.write(options.page, plan, read_results(results), options.work)
    write_section(options.page, options.work)
    eurosat.write_section(options.page, options.work)
    print(options.page.read_text())


def _measure_paces(bench: Bench, names: tuple[str, ...], results: Path) -> None:
    """How long an epoch takes, before anything else runs."""
    for name in names:
        key = f"seconds of an epoch, {name}"
        if key not in (done := read_results(results)):
            done[key] = {"key": key, "seconds": round(measure_pace(bench, Job(name, "moco")), 2)}
            keep(results, done[key])
        bench.pace[name] = done[key]["seconds"]


def _lanes(device: str) -> int:
    import torch

    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    return 1 if on_gpu else min(4, os.cpu_count() or 1)


if __name__ == "__main__":
    raise SystemExit(main())
