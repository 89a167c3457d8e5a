"""A map of classes beside its reference: ``python -m benchmarks.series.picture MAP.tif REFERENCE.tif --legend CSV --out PNG``."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rasterio.warp import Resampling, reproject

from core.errors import run_command
from core.imagery.labels import read_legend
from core.report.pictures import class_colours

TITLES = "GeoAware, from {dates} dates", "Reference"


def draw(path: Path, reference: Path, legend: Path, dates: int) -> tuple[Figure, float]:
    """Both on the map's pixels, and the share of pixels that hold the same class, of those that are not ``0`` in either."""
    with rasterio.open(path) as source, rasterio.open(reference) as other:
        made, box = source.read(1), source.bounds
        true = np.full(made.shape, 255, np.uint8)
        where = {"dst_transform": source.transform, "dst_crs": source.crs, "dst_nodata": 255}
        reproject(rasterio.band(other, 1), true, resampling=Resampling.nearest, **where)
    classes = read_legend(legend)
    palette = np.full((256, 3), 255, np.uint8)  # no data is white
    palette[[entry.value for entry in classes]] = class_colours(classes)
    figure = Figure(figsize=(14, 4.9), layout="constrained")
    for axis, numbers, text in zip(figure.subplots(1, 2), (made, true), TITLES):
        axis.imshow(palette[numbers], extent=(box.left, box.right, box.bottom, box.top), interpolation="nearest")
        axis.set_title(text.format(dates=dates))
    shown = [entry for entry in classes if (made == entry.value).any() or (true == entry.value).any()]
    handles = [Patch(facecolor=f"#{entry.color}", edgecolor="#666", lw=0.4, label=entry.name) for entry in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    known = (made != 255) & (true != 255) & ((made != 0) | (true != 0))
    return figure, float((made == true)[known].mean())


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.series.picture", description=__doc__.split(":")[0])
    add = parser.add_argument
    add("map", type=Path)
    add("reference", type=Path)
    add("--legend", type=Path, required=True, metavar="CSV", help="value, name, color")
    add("--dates", type=int, default=12, help="of which the map was made")
    add("--out", type=Path, required=True, metavar="PNG")
    given = parser.parse_args()

    def work() -> None:
        figure, share = draw(given.map, given.reference, given.legend, given.dates)
        figure.savefig(given.out, dpi=90)
        print(f"{given.out}: {share:.1%} of the pixels on land agree")

    return run_command(work)


if __name__ == "__main__":
    raise SystemExit(main())
