"""The files of a comparison, all made together: from-to map, classes of both sides, change, matrix, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputFault
from ..messages import Message
from ..model.card import ModelCard
from ..raster.legend import LandClass
from ..results.style import pam_xml, qml, ramp_qml
from ..results.vectors import STEP, KeepGoing
from ..results.writing import COPIES, LAND_COVER, RasterWriter, Results, Targets, explained, write_text
from .decision import (
    Calibration,
    Histogram,
    KnownPlaces,
    Threshold,
    calibrate,
    check_sample,
    recall_threshold,
)
from .job import ChangeJob, ChangeRows
from .pairs import FromTo, PairCounts
from .report import ChangeReport, Pictures

KEPT_OR_NOT = (LandClass(1, "unchanged", "E6E6E6"), LandClass(2, "changed", "C2185B"))
RASTERS = ("map", "before", "after", "probability", "distance")
_NO_PERCENT = 255
_RED = "#c2185b"
_PERCENT = ((0, 0), (25, 0), (50, 120), (100, 255))  # and how opaque it is drawn


def truth_names(card: ModelCard) -> dict[int, tuple[str, bool]]:
    """Of the classes of a map of change by their values: names, and whether they are changes."""
    if card.task != "embedding":
        return FromTo(card.classes).names()
    return {entry.value: (entry.name, entry is KEPT_OR_NOT[1]) for entry in KEPT_OR_NOT}


@dataclass(frozen=True)
class ChangeTargets(Targets):
    """Where the results of a comparison go.

    Attributes:
        files: by role: "map" (from-to classes, of features changed and unchanged), "before", "after" (classes),
            "probability" (per cent) or "distance" (of features), "matrix" (CSV, with a JSON beside it), "report" (HTML).
    """

    @property
    def paths(self) -> list[Path]:
        """Every file that may be written."""
        table = [self.files["matrix"].with_suffix(".json")] if "matrix" in self.files else []
        return [*super().paths, *table]

    def styles(self) -> dict[str, Path]:
        """The small files beside the rasters."""
        beside = {}
        for role in RASTERS if self.style else ():
            if role in self.files:
                beside[f"style of {role}"] = self.files[role].with_suffix(".qml")
                if role in ("map", "before", "after"):
                    beside[f"names of {role}"] = self.files[role].with_name(f"{self.files[role].name}.aux.xml")
        return beside


class ChangeResults(Results):
    """Takes the rows of a comparison, then makes the files; see ``Results``.

    Attributes:
        report: what was found; known once finished.
    """

    report: ChangeReport

    def __init__(
        self,
        targets: ChangeTargets,
        job: ChangeJob,
        raster: type[RasterWriter],
        sample: KnownPlaces | None = None,
        threshold: float | None = None,
        names: tuple[str, str] = ("before", "after"),
        words: Callable[[Message], str] = str,
    ) -> None:
        """Begin; of features changed is what reaches ``threshold``. The report names the sides so, and has these ``words``.

        Raises:
            InputFault: a folder cannot be written to, two results have one name, or there are too many classes.
        """
        self._legend = KEPT_OR_NOT if job.features else job.card.classes
        self._pairs = FromTo(self._legend)
        super().__init__(targets, job.grid, replace(job.card, classes=()), raster, None)  # type: ignore[arg-type]
        self._job, self._sample, self._given = job, sample, threshold
        self._names, self._words = names, words
        self._tally = PairCounts(len(self._legend), self.grid.row_areas)
        self._histogram, self._pictures = Histogram(), Pictures(*self.grid.shape)

    def __enter__(self) -> ChangeResults:
        return self

    @property
    def shown(self) -> tuple[LandClass, ...]:
        """Legend of the map: what occurs, once finished."""
        if self._job.features:
            return tuple(entry for entry, count in zip(KEPT_OR_NOT, self._tally.pixels[0]) if count)
        return self._pairs.legend(self._tally.pixels)

    def add_change(self, part: ChangeRows) -> None:
        """Write rows, from top to bottom.

        Raises:
            InputFault: they cannot be written.
        """
        with self._explained():
            if not self._writers:
                self._open_all()
            self._tally.add_gaps(part.before, part.after, part.inside)
            if part.former is None or part.latter is None:
                self._writers["distance"].write(part.top, part.change)
                self._histogram.add(part.change)
                return
            self._tally.add(part.top, part.former, part.latter, part.valid)
            layers = {"before": (part.former, part.before), "after": (part.latter, part.after)}
            for role, (position, there) in layers.items():
                card = self._job.card
                values = np.array([entry.value for entry in card.classes], card.class_dtype)[position]
                values = np.where(there, values, card.class_dtype.type(card.nodata))
                if role in self._writers:
                    self._writers[role].write(part.top, values)
            pairs, none = self._pairs.value(part.former, part.latter), np.iinfo(self._pairs.dtype).max
            self._writers["map"].write(part.top, np.where(part.valid, pairs, self._pairs.dtype.type(none)))
            percent = np.where(part.valid, np.rint(100 * np.where(part.valid, part.change, 0)), _NO_PERCENT)
            self._writers["raw" if self._sample else "probability"].write(part.top, percent.astype(np.uint8))

    def finish(self, keep_going: KeepGoing) -> dict[str, Path]:
        """See ``Results``.

        Raises:
            InputFault: a file could not be written, nothing holds data at both dates, or the sample does not serve.
            Cancelled: ``keep_going`` returned False.
        """
        with self._explained():
            decided: Threshold | Calibration | None = self._cut() if self._job.features else self._calibrate()
            if not self._tally.pixels.any():
                raise InputFault("change_nothing", where=self._job.after.source.where)
            self._picture()
            files: dict[str, Path] = {}
            for role in RASTERS:
                if role in self._writers and role in self.targets.files:
                    files[role] = self.keep(self.targets.files[role])
                    numbers = role in ("probability", "distance")
                    self._writers[role].to_cog(files[role], "AVERAGE" if numbers else "MODE", keep_going)
            self.report = self._made(decided)
            return {**files, **self._write_beside()}

    def _open_all(self) -> None:
        card = self._job.card
        if self._job.features:
            self._open("distance", "float32", np.nan, ["cosine distance of features"])
            self._open("map", "uint8", 255, ["change"], {entry.value: entry.rgb for entry in KEPT_OR_NOT})
            return
        colors = {entry.value: entry.rgb for entry in card.classes} if card.class_dtype == np.uint8 else None
        for role in ("before", "after"):
            if role in self.targets.files:
                self._open(role, card.class_dtype.name, card.nodata, LAND_COVER, colors)
        everything = self._pairs.legend(np.ones_like(self._tally.pixels))
        colors = {entry.value: entry.rgb for entry in everything} if self._pairs.dtype == np.uint8 else None
        self._open("map", self._pairs.dtype.name, np.iinfo(self._pairs.dtype).max, ["change"], colors)
        role = "raw" if self._sample else "probability"
        self._open(role, "uint8", _NO_PERCENT, ["change probability, per cent, not calibrated"])

    def _cut(self) -> Threshold:
        """Find the threshold of distances, and make the map with it."""
        sample = self._sample
        if self._given is not None:
            found = Threshold(self._given, "given")
        elif sample:
            distances = self._at(sample.places, "distance", np.nan)
            there = np.isfinite(distances)
            check_sample(sample, there)
            found = recall_threshold(distances[there], sample.changed[there], np.ones(int(there.sum())))
        else:
            found = self._histogram.otsu()
        for top, distances in self._strips("distance"):
            there = np.isfinite(distances)
            changed = np.where(there, distances >= np.float32(found.value), 0).astype(np.int64)
            self._tally.add(top, np.zeros_like(changed), changed, there)
            values = np.array([entry.value for entry in KEPT_OR_NOT], np.uint8)[changed]
            self._writers["map"].write(top, np.where(there, values, np.uint8(255)))
        return found

    def _calibrate(self) -> Calibration | None:
        """Calibrate the probabilities, where there is a sample."""
        sample = self._sample
        if not sample:
            return None
        percent = self._at(sample.places, "raw", _NO_PERCENT)
        strata = self._at(sample.places, "map", np.iinfo(self._pairs.dtype).max)
        there = percent != _NO_PERCENT
        check_sample(sample, there)
        kept = replace(sample, places=sample.places[there], changed=sample.changed[there])
        number, of, counts = np.unique(strata[there], return_inverse=True, return_counts=True)
        m2 = self._tally.m2.ravel()[number.astype(np.int64) - 1]
        made = calibrate(percent[there].astype(np.float64), kept, (m2 / counts)[of.ravel()])
        self._open("probability", "uint8", _NO_PERCENT, ["change probability, per cent, calibrated"])
        for top, rows in self._strips("raw"):
            gaps = rows == _NO_PERCENT
            self._writers["probability"].write(top, np.where(gaps, rows, made.of(np.where(gaps, 0, rows))))
        return made

    def _at(self, places: np.ndarray, role: str, outside: float) -> np.ndarray:
        """(N,) what a raster holds at places, ``outside`` where they lie outside."""
        found = np.full(len(places), outside, self._writers[role].dtype)
        for number, (x, y) in enumerate(places.tolist()):
            if not np.isfinite([x, y]).all():
                continue
            column, row = (int(np.floor(place)) for place in self.grid.pixel_at(x, y))
            if 0 <= row < self.grid.height and 0 <= column < self.grid.width:
                found[number] = self._writers[role].read(row, 1)[0, 0, column]
        return found

    def _strips(self, role: str) -> Iterator[tuple[int, np.ndarray]]:
        for strip in self.grid.whole.strips(STEP):
            yield strip.row, self._writers[role].read(strip.row, strip.height)[0]

    def _picture(self) -> None:
        """Take what the report shows."""
        colors = {entry.value: entry.rgb for entry in self.shown}
        legend = {entry.value: entry.rgb for entry in self._job.card.classes}
        for role in RASTERS if "report" in self.targets.files else ():
            if role not in self._writers:
                continue
            of = colors if role == "map" else None if role in ("probability", "distance") else legend
            for top, rows in self._strips(role):
                if role == "probability":
                    rows = np.where(rows == _NO_PERCENT, np.float32(np.nan), rows)
                self._pictures.add(role, top, rows, of)

    def _made(self, decided: Threshold | Calibration | None) -> ChangeReport:
        job, tally = self._job, self._tally
        names, crs = self._names, (self.grid.crs_text, self.grid.units.geographic)
        areas = self._pairs.areas(tally.pixels, tally.m2)
        if job.features:
            areas = tuple(replace(row, value=entry.value, name=entry.name) for row, entry in zip(areas, self.shown))
        legend = () if job.features else self._legend
        sample = self._sample.where if self._sample else ""
        return ChangeReport(
            job.card.name, names, legend, self.shown, tally, areas, decided, sample, *crs, self._pictures
        )

    def _write_beside(self) -> dict[str, Path]:
        """Write the small files, after the rasters: GDAL may have written some of its own."""
        files, texts, wkt = self.targets.files, {}, self.grid.wkt_beside
        if wkt:
            for role in (role for role in RASTERS if role in files):
                path = files[role].with_name(f"{files[role].name}.aux.xml")
                texts[f"names of {role}"] = path, pam_xml((), (), wkt)
        beside = self.targets.styles()
        for role in ("map", "before", "after"):
            if f"names of {role}" in beside:
                legend = self.shown if role == "map" else self._legend
                table = self.report.areas if role == "map" else self.report.side(role)
                texts[f"names of {role}"] = beside[f"names of {role}"], pam_xml(legend, table, wkt)
                texts[f"style of {role}"] = beside[f"style of {role}"], qml(legend)
        if "style of probability" in beside:
            percent = [(value, f"{value} %", _RED, alpha) for value, alpha in _PERCENT]
            texts["style of probability"] = beside["style of probability"], ramp_qml(percent)
        if "style of distance" in beside:
            cut = self.report.threshold
            stops = [(0.0, "0", _RED, 0), (cut, f"{cut:.3g}", _RED, 60), (min(2 * cut, 2.0), "", _RED, 255)]
            texts["style of distance"] = beside["style of distance"], ramp_qml(stops)
        if "matrix" in files:
            texts["matrix"] = files["matrix"], self.report.as_csv()
            texts["matrix as JSON"] = files["matrix"].with_suffix(".json"), self.report.as_json()
        if "report" in files:
            texts["report"] = files["report"], self.report.as_html(self._words)
        made = {}
        for role, (path, text) in texts.items():
            made[role] = self.keep(path)
            write_text(made[role], text)
        return made

    def _explained(self) -> AbstractContextManager[None]:
        each = 7.0 + (5.0 if self._sample else 0.0)
        return explained(self.targets.files["map"], int(self.grid.height * self.grid.width * each * COPIES))
