"""Runs a batch: plans units, submits them, records outcomes in the manifest, reports failures."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import TextIO

from tqdm import tqdm

from export.batch.inputs import Raster
from export.batch.plan import Plan
from export.batch.units import Outcome, Unit, blocks_folder
from export.batch.workers import Units
from export.runtime.errors import RuntimeFault
from export.runtime.files import clear_leftovers
from export.wording import words


class Batch:
    """A run over several rasters.

    Attributes:
        skipped: number of rasters already mapped.
        made: number mapped by this run.
        failed: reason of each failed raster, by name.
    """

    def __init__(
        self, rasters: Sequence[Raster], plan: Plan, workers: Callable[[Units], Generator[Outcome, None, None]]
    ) -> None:
        self.rasters, self.plan = rasters, plan
        self.skipped = self.made = 0
        self.failed: dict[str, str] = {}
        self._workers, self._units = workers, self._planned()
        self._joins: deque[Unit] = deque()
        self._shown: set[str] = set()
        self._providers: set[str] = set()
        self._bar = tqdm(total=len(rasters), unit="map", disable=None)

    def run(self) -> None:
        """Map every raster that is not mapped yet."""
        self._clear()
        try:
            with closing(self._workers(self._next)) as outcomes:
                for outcome in outcomes:
                    self._record(outcome)
        finally:
            self._bar.close()
            self._clear()  # what lost workers left

    def _next(self) -> Unit | None:
        unit = None if self._joins else next(self._units, None)  # planning a raster may add to the joins
        return self._joins.popleft() if self._joins and not unit else unit

    def _planned(self) -> Iterator[Unit]:
        for raster in self.rasters:
            if self.plan.is_done(raster):
                self.skipped += 1
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
                self._join_when_complete(raster.name)
            yield from units

    def _record(self, outcome: Outcome) -> None:
        """Add the outcome of a unit to the manifest, and show it."""
        unit, reason, outputs = outcome.unit, outcome.reason, dict(outcome.files)
        for note in map(words, outcome.notes):
            if note not in self._shown:  # each block of a raster has the same notes
                self._shown.add(note)
                self._show(f"warning: {note}")
        if outcome.provider:
            self._providers.add(outcome.provider)
        if reason and not unit.of:
            self._fail(unit.name, reason)
            return
        manifest, out = self.plan.manifest, self.plan.settings.out
        for part, _ in unit.parts:  # a virtual raster needs its blocks
            blocks = manifest.entries[part]["outputs"]
            outputs |= {name: known for name, known in blocks.items() if (out / name).exists()}
        if reason:
            manifest.add(unit.name, "failed", reason=reason)
        else:
            manifest.add(
                unit.name, "done", input=unit.input, model=self.plan.model, options=unit.options,
                checksum=unit.checksum, files=unit.files, outputs=outputs, provider=outcome.provider,
                seconds=outcome.seconds,
            )  # fmt: skip
        self._bar.update()
        if unit.of:
            whole = self.plan.cut[unit.of]
            whole.left.discard(unit.name)
            whole.reasons += [reason] if reason else []
            self._join_when_complete(unit.of)
        else:
            self.plan.cut.pop(unit.name, None)
            self.made += 1
            self._show(f"map: {out / next(iter(outcome.files), unit.name)}", sys.stdout)

    def _join_when_complete(self, name: str) -> None:
        whole = self.plan.cut[name]
        if whole.left:
            return
        if whole.reasons:
            self._fail(name, f"{len(whole.reasons)} of {len(whole.join.parts)} blocks: {whole.reasons[0]}")
        else:
            self._joins.append(whole.join)

    def _fail(self, name: str, reason: str) -> None:
        """Record a raster that could not be mapped."""
        self.plan.cut.pop(name, None)
        self.failed[name] = reason
        self.plan.manifest.add(name, "failed", reason=reason)
        self._bar.update()
        self._show(f"error: {reason}")

    def _show(self, line: str, stream: TextIO | None = None) -> None:
        self._bar.clear()
        print(line, file=stream or sys.stderr, flush=True)
        self._bar.refresh()

    def _clear(self) -> None:
        """Remove what killed runs left in the output folders."""
        targets = [self.plan.settings.out / raster.name for raster in self.rasters]
        for folder in {path.parent for path in targets} | {blocks_folder(path) for path in targets}:
            clear_leftovers(folder)

    def summary(self) -> list[str]:
        """Closing lines for the user: failures with reasons, then counts."""
        lines, total = [], len(self.rasters)
        if self.failed and total > 1:
            lines += ["failed:", *(f"  {name}: {reason}" for name, reason in self.failed.items())]
        if len(self._providers) > 1:
            providers = ", ".join(sorted(self._providers))
            lines.append(
                f"warning: {providers} ran the model; results differ in the last bits, choose one with --provider"
            )
        counts = {"mapped": self.made, "already mapped": self.skipped, "failed": len(self.failed)}
        text = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return [*lines, f"{total} rasters in {self.plan.settings.out}: {text}"]
