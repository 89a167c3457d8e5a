"""Views of two dates, season and optimiser, on Blue Marble: ``python -m benchmarks.learning.choices``.

Each choice trains the same number of steps. Results are appended to choices.jsonl in the folder of work, so that the same
command resumes; the section of the page is written anew, and the rest of the page is left alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import torch

from benchmarks.few_labels.page import write
from benchmarks.learning import page
from benchmarks.learning.jobs import CHOICES, UNTRAINED, Bench, Job, Record
from benchmarks.learning.lanes import keep, read_results
from benchmarks.learning.references import REFERENCES, add_option
from benchmarks.learning.stores import ROOT, make_store
from core.errors import run_command

RESULTS = "choices.jsonl"
TITLE = "Views of two dates, season, optimiser"
HEAD = "# What pretraining gains"
BASE = "moco"
BASES = (BASE, UNTRAINED)  # all are compared with
LONG = ", 25 passes"  # rows of this name are compared with the base of this name
TEXT = """Blue Marble, frozen features, five passes over the images, the defaults of `pretrain` but for what a row names; 25 passes
are compared with `moco` of 25 passes. `--pair-views`:
crops, flips and turns of two dates of a place are "independent" as in the paper, "shared", or none ("whole"). `--season`: two dates
are a positive pair ("ignore"), or negatives ("keep"), or both in an embedding each (Mañas et al. 2021); `--ignore-weight` is the share of the
first in the loss, 0.5 unless a row says 0.2. Recall with features standardised, and
whitened, by training images. Intervals of rows with one seed are over test places alone, and say nothing about another seed."""


def jobs_of(choices: Iterable[str], seeds: range) -> dict[str, list[Job]]:
    """Jobs of the references and of the untrained network, and of each choice; one a seed, in the order in which they are best run."""
    jobs = {name: [Job("bluemarble", name, seed=seed) for seed in seeds] for name in (*REFERENCES, UNTRAINED)}
    for name in choices:
        jobs[name] = [Job("bluemarble", CHOICES[name][0], seed=seed, change=name) for seed in seeds]
    return jobs


def section(records: dict[str, Record], most: int = 10) -> list[str]:
    """Tables of the choices that are measured, with the seeds that they have; none without ``BASE``."""
    found = {}
    for name, jobs in jobs_of(CHOICES, range(most)).items():
        count = next((seed for seed, job in enumerate(jobs) if job.key not in records), most)
        if count:
            found[name] = [records[job.key] for job in jobs[:count]]
    if BASE not in found:
        return []
    columns = page.columns(found, "hits") + page.columns(found, "recall")
    rows = [[name, f"{len(runs)}", *(page.cell(runs, column) for column in columns)] for name, runs in found.items()]
    tables = [page.table(["", "seeds", *columns], rows)]
    tables += [page.REFERENCES_TEXT] if REFERENCES.keys() & found.keys() else []
    for base in (name for name in BASES if name in found):
        gains = []
        for name, runs in found.items():
            known = found.get(base + LONG, found[base]) if name.endswith(LONG) else found[base]
            both = min(len(runs), len(known))
            if runs is not known:
                gains.append([name, *(page.gain(runs[:both], known[:both], column) for column in columns)])
        tables.append(page.table([f"points over {base}", *columns], gains))
    return tables


def write_section(path: Path, work: Path) -> None:
    """Put the results so far into the page; without any the page stays as it is."""
    tables = section(read_results(work / RESULTS))
    if tables:
        write(
            path, TITLE, [*TEXT.splitlines(), *(line for table in tables for line in ("", *table.splitlines()))], HEAD
        )


def main() -> int:
    """Measure what is not measured yet, and write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning.choices", description=__doc__)
    parser.add_argument(
        "--sample", type=Path, help="copy of the quickstart's sample (default: as the quickstart finds it)"
    )
    short = [name for name in CHOICES if not name.endswith(LONG)]
    parser.add_argument(
        "--choices", nargs="*", choices=tuple(CHOICES), default=short, help="default: all of five passes"
    )
    parser.add_argument("--seeds", type=int, default=3)
    add_option(parser)
    parser.add_argument("--work", type=Path, default=Path("build/learning"), help="store, runs, results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks" / "learning.md")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only-page", action="store_true", help="only write the section from existing results")
    parser.add_argument("--quick", action="store_true", help="one epoch of everything, as a test")
    options = parser.parse_args()
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    results = options.work / RESULTS
    if not options.only_page:
        options.work.mkdir(parents=True, exist_ok=True)
        make_store("bluemarble", options.sample, options.work)
        bench = Bench(options.work, options.device, {}, options.quick, options.references)
        jobs = jobs_of(options.choices, range(options.seeds))
        for seed in range(options.seeds):  # all choices with one seed, then the next
            for job in (of_seeds[seed] for of_seeds in jobs.values()):
                if job.key not in read_results(results) and (
                    job.method not in REFERENCES or (options.references and not seed)
                ):
                    torch.manual_seed(job.seed)
                    keep(results, bench.measure(job) | {"key": job.key})
    write_section(options.page, options.work)
    print("\n\n".join(section(read_results(results))))


if __name__ == "__main__":
    raise SystemExit(main())
