"""Runs a batch: plans units, submits them, records outcomes in the manifest, reports failures."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from export.batch.inputs import Raster
from export.batch.join import blocks_folder
from export.batch.manifest import Manifest
from export.batch.plan import Plan
from export.batch.work import Outcome, Unit
from export.batch.workers import Workers
from export.runtime.errors import RuntimeFault
from export.runtime.files import clear_leftovers
from export.wording import words


@dataclass
class Report:
    """Outcome of a batch.

    Attributes:
        total: number of rasters.
        skipped: number already mapped.
        made: number mapped by this run.
        failed: reason of each failed raster, by name.
        providers: execution providers that ran the model.
    """

    total: int
    skipped: int = 0
    made: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    providers: set[str] = field(default_factory=set)


class Batch:
    """A run over several rasters."""

    def __init__(self, rasters: Sequence[Raster], plan: Plan, workers: Workers, manifest: Manifest) -> None:
        self.rasters, self.plan, self.workers, self.manifest = rasters, plan, workers, manifest
        self.report = Report(len(rasters))
        self._joins: deque[Unit] = deque()
        self._shown: set[str] = set()
        self._bar = tqdm(total=len(rasters), unit="map", disable=None)

    def run(self) -> None:
        """Map every raster that is not mapped yet."""
        self._clear()
        try:
            for outcome in self._outcomes():
                self._record(outcome)
        finally:
            self._bar.close()
            self.workers.close()
            self._clear()  # what lost workers left

    def _outcomes(self) -> Iterator[Outcome]:
        units = self._units()
        while True:
            while self.workers.room:
                unit = self._joins.popleft() if self._joins else next(units, None)
                if unit is None:
                    break
                self.workers.give(unit)
            if self.workers.busy:
                yield self.workers.take()
            elif not self._joins:
                return

    def _units(self) -> Iterator[Unit]:
        for raster in self.rasters:
            if self.plan.is_done(raster):
                self.report.skipped += 1
                self._bar.update()
                continue
            try:
                units = self.plan.units(raster)
            except RuntimeFault as fault:
                self._fail(raster.name, words(fault))
                continue
            whole = self.plan.cut.get(raster.name)
            if whole:
                self._bar.total += len(whole.join.parts)
                self._bar.update(len(whole.join.parts) - len(units))
                if not units:
                    self._join_when_whole(raster.name)
            yield from units

    def _record(self, outcome: Outcome) -> None:
        """Add the outcome of a unit to manifest and report, and show it."""
        unit = outcome.unit
        for note in map(words, outcome.notes):
            if note not in self._shown:  # each block of a raster has the same notes
                self._shown.add(note)
                self._show(f"warning: {note}")
        if outcome.provider:
            self.report.providers.add(outcome.provider)
        if unit.of:
            self._bar.update()
            whole = self.plan.cut[unit.of]
            whole.left.discard(unit.name)
            if outcome.reason:
                whole.reasons.append(outcome.reason)
            self.manifest.add(self._entry(outcome))
            self._join_when_whole(unit.of)
        elif outcome.reason:
            self._fail(unit.name, outcome.reason)
        else:
            self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        """Record a raster that is mapped completely."""
        unit, outputs = outcome.unit, dict(outcome.files)
        for part, _ in unit.parts:  # a virtual raster needs its blocks
            for name, known in self.manifest.entries[part]["outputs"].items():
                if (self.plan.job.out / name).exists():
                    outputs[name] = known
        entry = self._entry(outcome)
        self.manifest.add({**entry, "outputs": outputs})
        self.plan.cut.pop(unit.name, None)
        self.report.made += 1
        self._bar.update()
        self._show(f"map: {self.plan.job.out / next(iter(outcome.files), unit.name)}", sys.stdout)

    def _join_when_whole(self, name: str) -> None:
        whole = self.plan.cut[name]
        if whole.left:
            return
        if whole.reasons:
            count = len(whole.reasons)
            self._fail(name, f"{count} of {len(whole.join.parts)} blocks: {whole.reasons[0]}")
        else:
            self._joins.append(whole.join)

    def _fail(self, name: str, reason: str) -> None:
        """Record a raster that could not be mapped."""
        self.plan.cut.pop(name, None)
        self.report.failed[name] = reason
        self.manifest.add({"unit": name, "state": "failed", "reason": reason, "time": _now()})
        self._bar.update()
        self._show(f"error: {reason}")

    def _entry(self, outcome: Outcome) -> dict:
        unit = outcome.unit
        if outcome.reason:
            return {"unit": unit.name, "state": "failed", "reason": outcome.reason, "time": _now()}
        return {
            "unit": unit.name, "state": "done", "input": unit.input, "model": self.plan.model, "options": unit.options,
            "checksum": unit.checksum, "files": unit.files, "outputs": outcome.files, "provider": outcome.provider,
            "seconds": outcome.seconds, "time": _now(),
        }  # fmt: skip

    def _show(self, line: str, stream: TextIO | None = None) -> None:
        self._bar.clear()
        print(line, file=stream or sys.stderr, flush=True)
        self._bar.refresh()

    def _clear(self) -> None:
        """Remove what killed runs left in the output folders."""
        targets = [self.plan.job.out / raster.name for raster in self.rasters]
        for folder in {path.parent for path in targets} | {blocks_folder(path) for path in targets}:
            clear_leftovers(folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def summary(report: Report, out: Path) -> list[str]:
    """Closing lines for the user: failures with reasons, then counts."""
    lines = []
    if len(report.failed) > 1 or (report.failed and report.total > 1):
        lines.append("failed:")
        lines += [f"  {name}: {reason}" for name, reason in report.failed.items()]
    if len(report.providers) > 1:
        lines.append(
            f"warning: {', '.join(sorted(report.providers))} ran the model; results differ in the last bits, choose one with --provider"
        )
    parts = [f"{report.made} mapped", f"{report.skipped} already mapped", f"{len(report.failed)} failed"]
    lines.append(f"{report.total} rasters in {out}: {', '.join(part for part in parts if not part.startswith('0 '))}")
    return lines
