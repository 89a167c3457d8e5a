"""The files of one map, all made together: class raster, confidence, probabilities, polygons, areas, STAC Item."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.rasterio_io.cog import RowWriter
from export.rasterio_io.grid import Grid
from export.rasterio_io.stac import item_text
from export.rasterio_io.vectors import write_polygons
from export.runtime.files import Staging
from export.runtime.model.card import ModelCard
from export.runtime.raster.patches import begins, check_room
from export.runtime.results.area_table import as_csv, as_json
from export.runtime.results.areas import Areas
from export.runtime.results.rows import Rows
from export.runtime.results.style import confidence_qml, pam_xml, qml

CONFIDENCE_NODATA = 255


@dataclass(frozen=True)
class Wanted:
    """Which files are made beside the map.

    Attributes:
        confidence: raster, per cent.
        probabilities: raster, a band a class.
        polygons: GeoPackage.
        min_area: of a polygon, square metres.
        areas: CSV and JSON.
        style: names and colours of the classes, for GDAL and for QGIS; of the confidence, for QGIS.
    """

    confidence: bool = False
    probabilities: bool = False
    polygons: bool = False
    min_area: float = 0.0
    areas: bool = False
    style: bool = True

    def suffixes(self, task: str) -> list[str]:
        """What follows the name in the files that a run of such a model makes, but for the small ones beside them."""
        if task == "detection":
            return [".gpkg"]
        asked = {
            "_confidence.tif": self.confidence,
            "_probabilities.tif": self.probabilities,
            ".gpkg": self.polygons,
            "_areas.csv": self.areas,
            "_areas.json": self.areas,
        }
        return [".tif", *(suffix for suffix, wanted in asked.items() if wanted)]


class Results:
    """Takes finished rows from top to bottom, then makes the files."""

    def __init__(self, staging: Staging, name: str, grid: Grid, card: ModelCard, wanted: Wanted) -> None:
        self.staging, self.name, self.grid, self.card, self.wanted = staging, name, grid, card, wanted
        self.areas = Areas(card.classes, grid.height)
        self._runs = 0
        self._map: RowWriter | None = None
        self._confidence: RowWriter | None = None
        self._probabilities: RowWriter | None = None
        self._objects: Path | None = None

    def add(self, part: Rows) -> None:
        """Write rows."""
        if self._map is None:
            self._begin(part)
        assert self._map is not None  # nosec B101  # for mypy
        if part.classes is None:
            self._map.write(part.top, _all(part.values))
            return
        self._map.write(part.top, part.classes)
        self.areas.add(part)
        if self.wanted.polygons:  # before hours are spent
            self._runs += int(np.count_nonzero(begins(part.classes)))
            check_room(self._runs, self.wanted.min_area > 0, self.name)
        if self._confidence:
            self._confidence.write(part.top, _all(part.confidence))
        if self._probabilities:
            self._probabilities.write(part.top, _all(part.values))

    def _begin(self, part: Rows) -> None:
        """Open the rasters, now that it is known what the model answers with."""
        wanted, names = self.wanted, [entry.name for entry in self.card.classes]
        if part.classes is None:
            count = len(_all(part.values))
            bands = names if len(names) == count else [f"value {number}" for number in range(1, count + 1)]
            self._map = self._writer("map", "float32", np.nan, bands)
            return
        self._map = self._writer("map", part.classes.dtype.name, self.card.nodata, ["land cover"])
        if part.classes.dtype == np.uint8:
            self._map.color({entry.value: (*entry.rgb, 255) for entry in self.card.classes})
        if wanted.confidence or wanted.polygons:
            self._confidence = self._writer("confidence", "uint8", CONFIDENCE_NODATA, ["confidence, per cent"])
        if wanted.probabilities:
            self._probabilities = self._writer("probabilities", "float32", np.nan, names)

    def _writer(self, role: str, dtype: str, nodata: float, bands: list[str]) -> RowWriter:
        return RowWriter(self.staging / f"plain-{role}.tif", self.grid, dtype, nodata, bands)

    def boxes(self) -> Path:
        """Where the objects of a detection go, instead of a map."""
        self._objects = self.staging.keep(f"{self.name}.gpkg")
        return self._objects

    def close(self) -> None:
        """Give the files back, after a run that failed."""
        for writer in (self._map, self._confidence, self._probabilities):
            if writer:
                writer.close()

    def finish(self, model: Path, raster: str, options: dict[str, Any], unit: str = "") -> dict[str, Path]:
        """Make every file and give each its final name.

        Args:
            model: file of the model.
            raster: what was mapped.
            options: how.
            unit: checksum of all that the files are made from.

        Returns:
            Role and file of each.
        """
        files = {"objects": self._objects} if self._objects else self._map_files()
        description = self.staging.keep(f"{self.name}.stac.json")
        text = item_text(self.name, self.grid, self.card, model, raster, files, options, unit)
        description.write_text(text, "utf-8")
        self.staging.commit()
        return {role: self.staging.folder / path.name for role, path in {**files, "stac": description}.items()}

    def _map_files(self) -> dict[str, Path]:
        assert self._map is not None  # nosec B101  # a raster has at least one row
        files = {"map": self.staging.keep(f"{self.name}.tif")}
        classes = self._map.names == ["land cover"]
        self._map.to_cog(files["map"], "MODE" if classes else "AVERAGE")
        return files | self._beside(files["map"]) if classes else files

    def _beside(self, classes: Path) -> dict[str, Path]:
        """Everything that goes with a raster of classes."""
        name, wanted = self.name, self.wanted
        files: dict[str, Path] = {}
        confidence = self.staging / "confidence.tif"
        if wanted.confidence:
            confidence = files["confidence"] = self.staging.keep(f"{name}_confidence.tif")
        if self._confidence:
            self._confidence.to_cog(confidence, "AVERAGE")
        if self._probabilities:
            files["probabilities"] = self.staging.keep(f"{name}_probabilities.tif")
            self._probabilities.to_cog(files["probabilities"], "AVERAGE")
        return files | write_beside(self.staging, name, classes, confidence, self.areas, self.grid, self.card, wanted)

    def bytes_needed(self) -> int:
        """At most, on the disk, while the files are made: before and after they become COGs."""
        bands = 2.0 if self.card.classes else 4.0
        bands += 1.0 * (self.wanted.confidence or self.wanted.polygons) + 4.0 * self.wanted.polygons
        bands += 4.0 * len(self.card.classes) * self.wanted.probabilities
        return int(self.grid.height * self.grid.width * bands * 2.4)


def _all(layer: np.ndarray | None) -> np.ndarray:
    """A layer that the runtime promised."""
    if layer is None:
        raise TypeError("the runtime left out a layer that was asked for")
    return layer


def write_beside(
    staging: Staging,
    name: str,
    classes: Path,
    confidence: Path,
    areas: Areas,
    grid: Grid,
    card: ModelCard,
    wanted: Wanted,
    *,
    virtual: bool = False,
) -> dict[str, Path]:
    """What is made from a finished raster of classes.

    Args:
        staging: where.
        name: of the map.
        classes: raster.
        confidence: raster, read for polygons alone.
        areas: counted pixels of the map.
        grid: of the map.
        card: of the model.
        wanted: which files.
        virtual: the raster is a VRT, which holds names and colours itself.

    Returns:
        Role and file of each.
    """
    keep, files, table = staging.keep, {}, areas.table(grid.row_areas)
    if wanted.polygons:
        files["polygons"] = keep(f"{name}.gpkg")
        write_polygons(files["polygons"], classes, confidence, grid, card.classes, card.nodata, wanted.min_area)
    if wanted.areas:
        crs = grid.crs
        files["areas"], files["areas as JSON"] = keep(f"{name}_areas.csv"), keep(f"{name}_areas.json")
        files["areas"].write_text(as_csv(table), "utf-8")
        files["areas as JSON"].write_text(as_json(table, crs.to_string(), crs.is_geographic), "utf-8")
    if wanted.style:
        files["style"] = keep(f"{name}.qml")
        files["style"].write_text(qml(card.classes, f"{name}_confidence" if wanted.confidence else ""), "utf-8")
    if wanted.style and wanted.confidence:
        files["style of the confidence"] = keep(f"{name}_confidence.qml")
        files["style of the confidence"].write_text(confidence_qml(), "utf-8")
    if wanted.style and not virtual:
        files["names and colours"] = keep(f"{name}.tif.aux.xml")
        files["names and colours"].write_text(pam_xml(card.classes, table), "utf-8")
    return files
