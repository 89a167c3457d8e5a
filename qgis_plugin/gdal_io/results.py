"""The files of one map, all made together: values or classes, confidence, probabilities, polygons."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional

import numpy as np

from ..runtime.errors import InputFault
from ..runtime.files import Staging, free_bytes, size_text
from ..runtime.model.card import ModelCard
from ..runtime.raster.patches import row_blocks
from ..runtime.results.areas import Areas
from ..runtime.results.pca import Directions
from ..runtime.results.rows import NO_CONFIDENCE, Rows
from ..runtime.results.style import confidence_qml, pam_xml, qml
from ..texts import tr
from .grid import Grid
from .vectors import write_patches
from .writer import GoOn, RowWriter


@dataclass(frozen=True)
class Targets:
    """Files that are wanted.

    Attributes:
        map: classes or values.
        confidence: raster, per cent.
        probabilities: raster, a band a class.
        polygons: GeoPackage.
        min_area: of a polygon, square metres.
        picture: of the main directions of features.
    """

    map: Path
    confidence: Optional[Path] = None
    probabilities: Optional[Path] = None
    polygons: Optional[Path] = None
    min_area: float = 0.0
    picture: Optional[Path] = None


class Results:
    """Takes finished rows from top to bottom, then makes the files; what is unfinished goes when it is closed."""

    def __init__(self, grid: Grid, card: ModelCard, targets: Targets) -> None:
        """Make hidden folders beside the targets.

        Raises:
            InputFault: a folder cannot be written to, or two results have one name.
        """
        self.grid, self.card, self.targets = grid, card, targets
        self.areas = Areas(card.classes, grid.height)
        self._directions: Optional[Directions] = None
        self._writers: Dict[str, RowWriter] = {}
        self._stagings: Dict[Path, Staging] = {}
        self._stack = ExitStack()
        paths = [targets.map, targets.confidence, targets.probabilities, targets.polygons, targets.picture]
        files = [path for path in paths if path]
        if len({path.with_suffix("") for path in files}) < len(files):
            raise InputFault(tr("Give each result a name of its own: their styles are files of that name."))
        try:
            for path in files:
                if path.parent not in self._stagings:
                    self._stagings[path.parent] = self._stack.enter_context(Staging(path.parent))
        except InputFault:
            self.close()
            raise

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all files and remove what is unfinished."""
        for writer in self._writers.values():
            writer.close()
        self._stack.close()

    def add(self, part: Rows) -> None:
        """Write rows."""
        if not self._writers:
            self._begin(part)
        layers = {"confidence": part.confidence, "probabilities": part.values}
        layers["map"] = part.values if part.classes is None else part.classes
        for role, writer in self._writers.items():
            writer.write(part.top, layers[role])
        self.areas.add(part)
        if self._directions:
            self._directions.add(part.values, part.valid)

    def finish(self, go_on: GoOn) -> None:
        """Make every file and give each its final name.

        Raises:
            InputFault: one could not be written whole.
            Cancelled: ``go_on`` returned False.
        """
        targets, writers, card = self.targets, self._writers, self.card
        classes = not writers["map"].dtype.startswith("float")
        if targets.polygons:
            out = self._keep(targets.polygons)
            least = targets.min_area
            write_patches(out, writers["map"], writers["confidence"], card.classes, card.nodata, least, go_on)
        if targets.picture:
            self._draw(targets.picture, go_on)
        if targets.confidence:
            writers["confidence"].to_cog(self._keep(targets.confidence), "AVERAGE", go_on)
            self._keep(targets.confidence.with_suffix(".qml")).write_text(confidence_qml(), "utf-8")
        if targets.probabilities:
            writers["probabilities"].to_cog(self._keep(targets.probabilities), "AVERAGE", go_on)
        map_file = self._keep(targets.map)
        writers["map"].to_cog(map_file, "MODE" if classes else "AVERAGE", go_on)
        if classes:
            self._keep(targets.map.with_name(f"{targets.map.name}.aux.xml")).write_text(
                pam_xml(card.classes, self.areas.table(self.grid.row_areas)), "utf-8"
            )
            self._keep(targets.map.with_suffix(".qml")).write_text(
                qml(card.classes, targets.confidence.stem if targets.confidence else ""), "utf-8"
            )
        for staging in reversed(list(self._stagings.values())):  # that of the map last
            staging.commit()

    def space(self) -> str:
        """Why a file may have failed: the disk is short of room; empty where it is not."""
        bands = max((len(writer.names) for writer in self._writers.values()), default=1)
        targets = self.targets
        needed = room_needed(
            self.grid, self.card, bands, bool(targets.confidence), bool(targets.probabilities), bool(targets.polygons)
        )
        free = free_bytes(targets.map.parent)
        if free > needed:
            return ""
        text = tr("up to {needed} may be needed while it is made and {free} are free")
        return text.format(needed=size_text(needed), free=size_text(free))

    def _begin(self, part: Rows) -> None:
        """Open the rasters, now that it is known what the model answers with."""
        targets, names = self.targets, [entry.name for entry in self.card.classes]
        if part.classes is None:
            if targets.confidence or targets.probabilities or targets.polygons:
                text = tr("The model '{name}' gives values, no classes: it has no confidence and no polygons.")
                raise InputFault(text.format(name=self.card.name))
            count = len(part.values)
            bands = names if len(names) == count else [f"value {number}" for number in range(1, count + 1)]
            self._open("map", targets.map, "float32", np.nan, bands)
            self._directions = Directions(count) if targets.picture else None
            return
        self._open("map", targets.map, part.classes.dtype.name, self.card.nodata, ["land cover"])
        if part.classes.dtype == np.uint8:
            self._writers["map"].color({entry.value: (*entry.rgb, 255) for entry in self.card.classes})
        if targets.confidence or targets.polygons:
            path = targets.confidence or targets.map
            self._open("confidence", path, "uint8", NO_CONFIDENCE, ["confidence, per cent"])
        if targets.probabilities:
            self._open("probabilities", targets.probabilities, "float32", np.nan, names)

    def _open(self, role: str, path: Path, dtype: str, nodata: float, bands) -> None:
        plain = self._stagings[path.parent] / f"plain-{role}.tif"
        self._writers[role] = RowWriter(plain, self.grid, dtype, nodata, bands)

    def _keep(self, path: Path) -> Path:
        return self._stagings[path.parent].keep(path.name)

    def _draw(self, path: Path, go_on: GoOn) -> None:
        """The picture of the features, read again now that their directions are known."""
        plain = self._stagings[path.parent] / "plain-picture.tif"
        picture = self._writers["picture"] = RowWriter(plain, self.grid, "uint8", 0, ["PCA 1", "PCA 2", "PCA 3"])
        picture.as_picture()
        for top, rows in row_blocks(self.grid.height):
            values = self._writers["map"].read(top, rows)
            picture.write(top, self._directions.picture(values, np.isfinite(values).all(axis=0)))
        picture.to_cog(self._keep(path), "AVERAGE", go_on)


def room_needed(
    grid: Grid,
    card: ModelCard,
    bands: int,
    confidence: bool = False,
    probabilities: bool = False,
    polygons: bool = False,
) -> float:
    """Bytes that the results of a run may take while they are made; ``bands`` are those of a map of values."""
    if card.task == "detection":
        return 0.0
    each = 2.0 if card.classes else 4.0 * bands
    each += 5.0 * polygons + 1.0 * confidence + 4.0 * len(card.classes) * probabilities
    return grid.height * grid.width * each * 2.4
