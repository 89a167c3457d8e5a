"""Figures of the land-use model on unseen images: ``python -m benchmarks.starter.shown --places DIR``.

EuroSAT's test images, scenes of 64 px, are laid side by side into one UTM image, which ``export.predict`` maps; then
Sentinel-2 images of other places are mapped in steps of 16 px. The figures go to ``docs/images``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rasterio.transform import from_origin

from benchmarks.learning.stores import ROOT
from core.errors import UserError, run_command
from core.store.read import SPLITS, ChipStore
from export.runtime.model.card import ModelCard
from export.runtime.model.session import Model

SCENE, ROWS, COLUMNS = 64, 40, 60  # px, scenes
SHOWN = (12, 20)  # rows and columns of them in the picture
STEP = 16  # px
_DPI = 100


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.starter.shown",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--store", type=Path, default=ROOT / "build/starter/eurosat", help="EuroSAT's store (default %(default)s)")
    add("--places", type=Path, metavar="DIR", help="folder of Sentinel-2 images in true colour, GeoTIFFs")
    add("--model", type=Path, default=ROOT / "models/landuse_sentinel2.onnx", help="(default %(default)s)")
    add("--mosaic", type=Path, metavar="FILE.tif", help="keep the large image")
    add("--out", type=Path, default=ROOT / "docs/images", help="folder of the pictures (default %(default)s)")
    options = parser.parse_args()
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    card = Model(options.model, "cpu", threads=1).card
    with tempfile.TemporaryDirectory() as name:
        mosaic = options.mosaic or Path(name) / "mosaic.tif"
        truth = lay_out(ChipStore(options.store), mosaic)
        found = mapped(options.model, mosaic, Path(name))
        right = float((found == truth).mean())
        print(f"{truth.size:,} test images side by side: {right:.1%} of the scenes named rightly")
        draw_mosaic(mosaic, found, truth, card).savefig(options.out / "starter_mosaic.png", dpi=_DPI)
        if options.places:
            places = sorted(options.places.glob("*.tif"))
            if not places:
                raise UserError(f"{options.places}: holds no GeoTIFFs; name the folder of the images")
            maps = [mapped(options.model, place, Path(name), "--stride", STEP) for place in places]
            draw_places(places, maps, card).savefig(options.out / "starter_places.png", dpi=_DPI)


def lay_out(store: ChipStore, path: Path) -> np.ndarray:
    """Lay random test images side by side in a GeoTIFF; their class values (rows, columns)."""
    test = np.flatnonzero(store.column("split") == SPLITS.index("test"))
    chosen = np.random.default_rng(0).permutation(test)[: ROWS * COLUMNS]
    if len(chosen) < ROWS * COLUMNS:
        raise UserError(f"{store.path}: has {len(test)} test images, {ROWS * COLUMNS} are needed")
    tiles = store.pixels(chosen).astype(np.uint8).reshape(ROWS, COLUMNS, -1, SCENE, SCENE)
    pixels = tiles.transpose(2, 0, 3, 1, 4).reshape(-1, ROWS * SCENE, COLUMNS * SCENE)
    grid = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_400_000, 10, 10), "tiled": True}
    bands, height, width = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype=pixels.dtype, count=bands, height=height, width=width, **grid
    ) as file:
        file.write(pixels)
    values = np.array([entry.value for entry in store.info.classes])
    return values[store.column("label")[chosen]].reshape(ROWS, COLUMNS)


def mapped(model: Path, raster: Path, folder: Path, *options: object) -> np.ndarray:
    """Class values of the scenes (rows, columns), as a user would get them."""
    command = ["export.predict", model.resolve(), raster.resolve(), "--out", folder, "--name", raster.stem, *options]
    done = subprocess.run([sys.executable, "-m", *map(str, command)], cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"{raster}: no map was made; the reason stands above")
    with rasterio.open(folder / f"{raster.stem}.tif") as result:
        return result.read(1)


def draw_mosaic(mosaic: Path, found: np.ndarray, truth: np.ndarray, card: ModelCard) -> Figure:
    """A part of the large image, what was said of each scene, and where that is wrong."""
    rows, columns = SHOWN
    with rasterio.open(mosaic) as file:
        pixels = file.read(window=((0, rows * SCENE), (0, columns * SCENE)))
    figure = Figure(figsize=(14, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _image(left, pixels, f"{rows * columns} of EuroSAT's test images side by side")
    part = found[:rows, :columns]
    right.imshow(coloured(part, card))
    wrong = np.argwhere(part != truth[:rows, :columns])
    right.scatter(wrong[:, 1], wrong[:, 0], marker="x", color="black")
    right.set_title(f"what the model says (x: wrong, {len(wrong)} of {part.size})")
    right.set_axis_off()
    _legend(figure, card)
    return figure


def draw_places(places: list[Path], maps: list[np.ndarray], card: ModelCard) -> Figure:
    """Each place above its map."""
    figure = Figure(figsize=(14, 6.4), layout="constrained")
    for (above, below), place, said in zip(figure.subplots(2, len(places)).T, places, maps):
        with rasterio.open(place) as file:
            _image(above, file.read(), f"{file.lnglat()[1]:.1f}°, {file.lnglat()[0]:.1f}°")
        below.imshow(coloured(said, card))
        below.set_axis_off()
    _legend(figure, card)
    return figure


def coloured(values: np.ndarray, card: ModelCard) -> np.ndarray:
    """Class values in the colours of their classes, (rows, columns, 3) of 8 bits."""
    table = np.full((256, 3), 255, np.uint8)
    for entry in card.classes:
        table[entry.value] = entry.rgb
    return table[values]


def _image(axes: Axes, pixels: np.ndarray, title: str) -> None:
    axes.imshow(pixels.transpose(1, 2, 0))
    axes.set_title(title)
    axes.set_axis_off()


def _legend(figure: Figure, card: ModelCard) -> None:
    patches = [Patch(color=f"#{entry.color}", label=entry.name) for entry in card.classes]
    figure.legend(handles=patches, loc="outside lower center", ncols=5, frameon=False)


if __name__ == "__main__":
    raise SystemExit(main())
