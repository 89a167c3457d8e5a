"""The files of one run, all made together: map, confidence, probabilities, polygons, areas, picture, styles, objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Protocol

import numpy as np

from ..errors import InputFault
from ..files import Staging, commit, free_bytes, place, taken
from ..model.card import ModelCard
from ..raster.shapes.patches import begins, check_room
from .areas import Areas, as_csv, as_json
from .pca import Directions
from .rows import NO_CONFIDENCE, Objects, Rows
from .style import confidence_qml, pam_xml, qml
from .vectors import STEP, KeepGoing, Polygons, VectorOut, write_objects, write_patches

RASTERS = ("map", "confidence", "probabilities", "dates", "picture")
LAND_COVER = ["land cover"]  # band of a map of classes
MADE_BY = "GeoAware"  # tag TIFFTAG_SOFTWARE of a raster, by which it is known where it lies among rasters to map
COPIES = 2.4  # of a raster, while it becomes a COG: the plain file, the COG, its overviews


class RasterWriter(Protocol):
    """A raster that is filled from top to bottom, then turned into a COG.

    A COG's overviews stand before its pixels, so it cannot be written in one go.
    Failures are an ``InputFault``: "write_failed" or "incomplete".
    """

    dtype: str

    def __init__(
        self,
        path: Path,
        grid: Any,
        dtype: str,
        nodata: float,
        names: Sequence[str],
        colors: Mapping[int, tuple[int, int, int]] | None = None,
        rgb: bool = False,
    ) -> None:
        """Begin a plain file.

        ``colors`` (red, green and blue by value) make a colour table of the only band; with ``rgb`` the three bands are
        red, green and blue.
        """

    def write(self, top: int, rows: np.ndarray) -> None:
        """Write (rows, width) or (bands, rows, width)."""

    def read(self, top: int, rows: int) -> np.ndarray:
        """(bands, rows, width) of what was written."""

    def close(self) -> None:
        """Write everything to the disk; the file can be opened by others then."""

    def discard(self) -> None:
        """Release the file, whatever state it is in."""

    def to_cog(self, out: Path, overviews: str, keep_going: KeepGoing) -> None:
        """Copy it into a COG, compare that with what was written, and remove the plain file.

        ``overviews`` is GDAL's name of the resampling: MODE for classes, AVERAGE for numbers.
        """


@dataclass(frozen=True)
class Targets:
    """Where the results of a run go.

    Attributes:
        files: by role: "map", "confidence" (raster, per cent), "probabilities" (raster, one band per class), "dates"
            (raster, how many dates of a series hold data), "polygons" (GeoPackage), "areas" (CSV, with a JSON beside it),
            "picture" (raster of the main directions of features), "objects" (GeoPackage, of a detection).
        min_area: of a polygon, square metres.
        style: whether names and colours are written beside the rasters, for GDAL and QGIS.
        item: STAC Item of the results, which a host may write.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    min_area: float = 0.0
    style: bool = True
    item: Path = Path()

    @property
    def paths(self) -> list[Path]:
        """Every file that may be written."""
        table = [self.files["areas"].with_suffix(".json")] if "areas" in self.files else []
        item = [self.item] if self.item.name else []
        return [*self.files.values(), *self.styles().values(), *table, *item]

    def styles(self) -> dict[str, Path]:
        """The small files beside a map of classes and its confidence."""
        files, beside = self.files, {}
        if self.style and "map" in files:
            beside["style"] = files["map"].with_suffix(".qml")
            beside["names and colours"] = files["map"].with_name(f"{files['map'].name}.aux.xml")
        if self.style and "confidence" in files:
            beside["style of the confidence"] = files["confidence"].with_suffix(".qml")
        return beside

    def check(self, sources: Iterable[str]) -> None:
        """Keep results apart from each other, and from the files that they are made from.

        Raises:
            InputFault: two results have one name, or one would take the place of a source.
        """
        paths: dict[str, Path] = {}
        for path in self.paths:
            if paths.setdefault(place(path), path) is not path:
                raise InputFault("same_name", where=path)
        meeting = taken(self.paths, sources)
        if meeting:
            raise InputFault("overwrites_input", where=meeting[0], source=meeting[1])


class Results:
    """Takes finished rows from top to bottom, or objects, then makes the files; closing it removes what is unfinished."""

    def __init__(
        self, targets: Targets, grid: Any, card: ModelCard, raster: type[RasterWriter], vector: VectorOut
    ) -> None:
        """Make hidden folders beside the targets.

        Raises:
            InputFault: a folder cannot be written to, two results have one name, or the model has no such results.
        """
        targets.check(())
        if card.task in ("regression", "embedding") and {"confidence", "probabilities", "polygons"} & {*targets.files}:
            raise InputFault("no_classes", name=card.name)
        self.targets, self.grid, self.card = targets, grid, card
        self.areas = Areas(card.classes, grid.height)
        self.count = 0
        self._raster, self._vector = raster, vector
        self._directions: Directions | None = None
        self._writers: dict[str, RasterWriter] = {}
        self._bands, self._runs = 1, 0
        self._stagings: dict[Path, Staging] = {}
        with ExitStack() as stack:
            for folder in dict.fromkeys(path.parent for path in targets.files.values()):
                self._stagings[folder] = stack.enter_context(Staging(folder))
            self._stack = stack.pop_all()

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release all files and remove what is unfinished."""
        for writer in self._writers.values():
            writer.discard()
        self._stack.close()

    def add(self, part: Rows) -> None:
        """Write rows.

        Raises:
            InputFault: they cannot be written, or the polygons of the map would not fit into memory.
        """
        with self._explained():
            if not self._writers:
                self._begin(part)
            layers: dict[str, Any] = {"confidence": part.confidence, "probabilities": part.values, "dates": part.dates}
            layers["map"] = part.values if part.classes is None else part.classes
            for role, writer in self._writers.items():
                writer.write(part.top, layers[role])
        self.areas.add(part)
        if "polygons" in self.targets.files and part.classes is not None:  # before hours are spent
            self._runs += int(np.count_nonzero(begins(part.classes)))
            check_room(self._runs, self.targets.min_area > 0, self.targets.files["polygons"].stem)
        if self._directions and part.values is not None:
            self._directions.add(part.values, part.valid)

    def add_objects(self, objects: Objects, grid: Any, mask: Polygons | None, keep_going: KeepGoing) -> None:
        """Write the objects of a detection, in pixels of ``grid``; ``count`` is how many."""
        path = self.keep(self.targets.files["objects"])
        with self._explained():
            self.count = write_objects(path, objects, grid, self.card.classes, mask, self._vector, keep_going)

    def finish(self, keep_going: KeepGoing) -> dict[str, Path]:
        """Make every file, and say where each role's lies now; ``commit`` gives them their final names.

        Raises:
            InputFault: one could not be written completely.
            Cancelled: ``keep_going`` returned False.
        """
        targets = self.targets.files
        if "objects" in targets:
            return {"objects": self._staged(targets["objects"])}
        writers, card = self._writers, self.card
        classes = not writers["map"].dtype.startswith("float")
        files: dict[str, Path] = {}
        for role in ("map", "confidence", "probabilities", "dates"):
            if role in writers and role in targets:
                files[role] = self.keep(targets[role])

        beside: dict[str, Path] = {}
        with self._explained():
            if classes and "polygons" in targets:
                beside["polygons"] = self.keep(targets["polygons"])
                place = (self.grid, card.classes, card.nodata, self.targets.min_area, self._raster, self._vector)
                write_patches(beside["polygons"], self._blocks(), *place, keep_going)
            if "picture" in targets:
                beside["picture"] = self._draw(targets["picture"], keep_going)
            for role, path in files.items():
                overviews = "MODE" if role == "map" and classes else "AVERAGE"
                writers[role].to_cog(path, overviews, keep_going)
            texts = write_beside(self.targets, self.grid, card, self.areas if classes else None, self.keep)
        return {**files, **beside, **texts}

    def keep(self, path: Path) -> Path:
        """Where a file is made that ``commit`` will move to ``path``."""
        return self._stagings[path.parent].keep(path.name)

    def commit(self) -> None:
        """Give all files their final names, or none: the first that was kept comes last, it says that the others are there."""
        commit(self._stagings.values())

    def _staged(self, path: Path) -> Path:
        return self._stagings[path.parent] / path.name

    def _begin(self, part: Rows) -> None:
        """Open the rasters, now that it is known what the model answers with."""
        roles, card = self.targets.files, self.card
        names = [entry.name for entry in card.classes]
        self._bands = count = 1 if part.values is None else len(part.values)
        if "dates" in roles and part.dates is not None:
            self._open("dates", part.dates.dtype.name, 0, ["valid dates"])
        if part.classes is None:
            bands = names if len(names) == count else [f"value {number}" for number in range(1, count + 1)]
            self._open("map", "float32", np.nan, bands)
            self._directions = Directions(count) if "picture" in roles else None
            return
        colors = {entry.value: entry.rgb for entry in card.classes} if part.classes.dtype == np.uint8 else None
        self._open("map", part.classes.dtype.name, card.nodata, LAND_COVER, colors)
        if "confidence" in roles or "polygons" in roles:
            self._open("confidence", "uint8", NO_CONFIDENCE, ["confidence, per cent"])
        if "probabilities" in roles:  # of independent classes the first has no channel
            self._open("probabilities", "float32", np.nan, names[len(names) - count :])

    def _open(self, role: str, dtype: str, nodata: float, bands: Sequence[str], colors: Any = None) -> None:
        folder = self.targets.files.get(role, self.targets.files["map"]).parent
        plain = self._stagings[folder] / f"plain-{role}.tif"
        self._writers[role] = self._raster(plain, self.grid, dtype, nodata, bands, colors)

    def _blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for strip in self.grid.whole.strips(STEP):
            layers = [self._writers[role].read(strip.row, strip.height)[0] for role in ("map", "confidence")]
            yield layers[0], layers[1]

    def _draw(self, path: Path, keep_going: KeepGoing) -> Path:
        """The picture of the features, read again now that their directions are known."""
        assert self._directions is not None  # nosec B101  # made with the map
        names = ["PCA 1", "PCA 2", "PCA 3"]
        plain = self._stagings[path.parent] / "plain-picture.tif"
        picture = self._writers["picture"] = self._raster(plain, self.grid, "uint8", 0, names, None, rgb=True)
        for strip in self.grid.whole.strips(STEP):
            values = self._writers["map"].read(strip.row, strip.height)
            picture.write(strip.row, self._directions.picture(values, np.isfinite(values).all(axis=0)))
        picture.to_cog(self.keep(path), "AVERAGE", keep_going)
        return self._staged(path)

    def _explained(self) -> AbstractContextManager[None]:
        needed = room_needed(self.grid, self.card, self._bands, self.targets.files)
        return explained(next(iter(self.targets.files.values())), needed)


@contextmanager
def explained(path: Path, needed: int) -> Iterator[None]:
    """Name the file that could not be written, and say if the disk is full, which ``needed`` bytes may be taken of."""
    try:
        yield
    except InputFault as fault:
        message = fault.message
        if message.kind not in ("write_failed", "incomplete"):
            raise
        free = free_bytes(path.parent)
        if free < needed or "No space" in str(message.fields.get("reason", "")):
            raise InputFault("disk_full", where=path, needed=needed, free=free) from fault
        fault.message = message.about(path)
        raise


def write_beside(
    targets: Targets,
    grid: Any,
    card: ModelCard,
    areas: Areas | None,
    keep: Callable[[Path], Path],
    *,
    virtual: bool = False,
) -> dict[str, Path]:
    """Write the small files that go with the rasters, after them: GDAL may have written some of its own; role and file of each.

    ``areas`` are those of a map of classes; ``keep`` gives the place where a file of a name is made; ``virtual`` rasters
    (VRT) hold names, colours and CRS themselves.

    Raises:
        InputFault: a file cannot be written.
    """
    files: dict[str, Path] = {}
    texts: dict[str, tuple[Path, str]] = {}
    wkt = "" if virtual else grid.wkt_beside
    if wkt:
        for role in (role for role in RASTERS if role in targets.files):
            path = targets.files[role]
            texts[f"CRS of the {role}"] = path.with_name(f"{path.name}.aux.xml"), pam_xml((), (), wkt)
    table = areas.table(grid.row_areas) if areas else ()
    if areas and "areas" in targets.files:
        path = targets.files["areas"]
        texts["areas"] = path, as_csv(table)
        text = as_json(table, grid.crs_text, grid.units.geographic)
        texts["areas as JSON"] = path.with_suffix(".json"), text
    styles = targets.styles() if areas else {}
    beside = [targets.files[role].stem if role in targets.files else "" for role in ("confidence", "dates")]
    if "style" in styles:
        texts["style"] = styles["style"], qml(card.classes, *beside)
    if "style of the confidence" in styles:
        texts["style of the confidence"] = styles["style of the confidence"], confidence_qml()
    if "names and colours" in styles and not virtual:
        texts.pop("CRS of the map", None)
        texts["names and colours"] = styles["names and colours"], pam_xml(card.classes, table, wkt)
    for role, (path, text) in texts.items():
        files[role] = keep(path)
        write_text(files[role], text)
    return files


def write_text(path: Path, text: str) -> None:
    """Write a small file; raises InputFault if it cannot be written."""
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise InputFault("write_failed", where=path.name, reason=error.strerror or str(error)) from error


def room_needed(grid: Any, card: ModelCard, bands: int, roles: Collection[str]) -> int:
    """Bytes that the results of a run may take at most while they are made.

    ``bands`` is how many numbers the model answers with at each place: classes, values or features.
    """
    if card.task == "detection":
        return 0
    classes = card.task in ("segmentation", "classification")
    each = 2.0 if classes else 4.0 * bands
    each += 5.0 * ("polygons" in roles) + 1.0 * ("confidence" in roles) + 3.0 * ("picture" in roles)
    each += 2.0 * ("dates" in roles)
    each += 4.0 * bands * ("probabilities" in roles)
    return int(grid.height * grid.width * each * COPIES)
