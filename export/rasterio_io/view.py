"""The area that a user wants, on a raster's grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rasterio.errors import RasterioError

from export.rasterio_io.grid import Grid, crs_of
from export.rasterio_io.limits import Mask
from export.rasterio_io.source import Source
from export.runtime.errors import InputFault
from export.runtime.files import taken
from export.runtime.infer.layout import Layout
from export.runtime.model.card import ModelCard
from export.runtime.raster.lattice import Bounds, check_bounds
from export.runtime.raster.window import Window


@dataclass(frozen=True)
class Limits:
    """The area that is wanted.

    Attributes:
        bounds: west, south, east, north.
        crs: of the bounds; the raster's own when None.
        mask: file of polygons.
    """

    bounds: Bounds | None = None
    crs: str | None = None
    mask: Path | None = None


def check_apart(stem: Path, suffixes: list[str], source: Source, limits: Limits) -> None:
    """Keep a run's results, files of one stem, apart from what they are made from.

    Raises:
        InputFault: one of them would take the place of a file of the raster, or of the polygons.
    """
    results = (stem.with_name(stem.name + suffix) for suffix in suffixes)
    result = taken(results, [*source.dataset.files, *([str(limits.mask)] if limits.mask else [])])
    if result:
        raise InputFault(f"{result}: is read for this very map; choose another --out")


class View(Layout):
    """A raster as the model sees it, within the limits that a user sets."""

    source: Source
    mask: Mask | None
    seen: Grid
    result: Grid

    def __init__(
        self, source: Source, card: ModelCard, limits: Limits, *, resample: bool, model_grid: bool, cell: int = 1
    ) -> None:
        """Lay out a run.

        Args:
            source: the raster.
            card: of the model.
            limits: of the area.
            resample: whether to bring pixels to the model's size.
            model_grid: whether the map keeps that size.
            cell: side of a pixel of the answer, in pixels that the model sees; a coarse answer stays coarse.

        Raises:
            InputFault: the area lies outside the raster, or the polygons cannot be read.
        """
        self.source = source
        self.mask = Mask.read(limits.mask, source.grid) if limits.mask else None
        super().__init__(source, card.gsd if resample else None, self._window(limits), self.mask, model_grid, cell)
        coarse = source.overview(min(self.scale.rows, self.scale.columns)) if self.scale else None
        if coarse:
            self.read_from(coarse)

    def _window(self, limits: Limits) -> Window:
        grid, window = self.source.grid, self.source.grid.whole
        if limits.bounds:
            check_bounds(limits.bounds)
            crs = crs_of(limits.crs) if limits.crs else grid.crs
            try:
                found = grid.window_of(limits.bounds, crs)
            except RasterioError as error:
                raise InputFault(f"--bounds: they cannot be brought into the CRS of {self.source.where}") from error
            window = self._met(found, "--bounds")
        if self.mask:
            window = self._met(window.intersection(grid.window_of(self.mask.bounds, grid.crs)), f"--mask {limits.mask}")
        return window

    def _met(self, window: Window | None, option: str) -> Window:
        if window is None:
            box = ", ".join(f"{v:.10g}" for v in self.source.grid.bounds)
            raise InputFault(f"{option}: lies outside {self.source.where} ({box} in its CRS); nothing to map")
        return window
