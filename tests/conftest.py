"""A small generated world that every test can learn from, and the real imagery where it is there."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from export.runtime.infer.timing import trial

# A shell that runs the tests in its background has Ctrl-C ignored, and all that they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

REAL = Path(__file__).parents[2] / "shared" / "data"
UTM = "EPSG:32633"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> None:
    """What trials of providers find is kept apart from the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def no_trials(monkeypatch) -> None:
    """Nothing but the tests of trials lets the load of this computer decide what runs a model."""
    monkeypatch.setattr(trial, "WORTH", 10**9)


def write_raster(
    path: Path,
    pixels: np.ndarray,
    *,
    crs: str | None = UTM,
    origin: tuple = (500_000, 5_000_000),
    pixel: float = 10.0,
    **profile,
) -> Path:
    """Write (bands, rows, cols) as a GeoTIFF with its upper left corner at ``origin``."""
    import rasterio  # absent where only the GPU tests run
    from rasterio.transform import from_origin

    bands, rows, columns = pixels.shape
    place = {"crs": crs, "transform": from_origin(*origin, pixel, pixel)} if crs else {}
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=columns, count=bands, dtype=pixels.dtype, **place, **profile
    ) as target:
        target.write(pixels)
    return path


def make_world(folder: Path, dates: int = 3, rows: int = 320, columns: int = 320) -> tuple[list[Path], Path]:
    """Dated RGB rasters of three kinds of land in large patches, and the raster of their classes."""
    rng = np.random.default_rng(0)
    classes = np.kron(rng.integers(0, 3, (rows // 32, columns // 32)), np.ones((32, 32), int))
    colours = np.array([[60, 120, 40], [180, 150, 90], [40, 60, 160]])
    paths = []
    for date in range(dates):
        haze = rng.integers(-20, 20)
        pixels = colours[classes].transpose(2, 0, 1) + rng.normal(0, 12, (3, rows, columns)) + haze
        paths.append(
            write_raster(folder / f"scene_2020{date + 1:02}15.tif", pixels.clip(1, 255).astype(np.uint8), nodata=0)
        )
    labels = write_raster(folder / "labels.tif", (classes[None] * 10 + 10).astype(np.uint8), nodata=255)
    return paths, labels


def make_small_sample(folder: Path, months: int = 3, rows: int = 20) -> Path:
    """The quickstart's sample in small: a world of blocks in three kinds of land, and open sea."""
    from PIL import Image

    rng = np.random.default_rng(0)
    kinds = np.array([0, 2, 12, 16])  # water, forest, cropland, barren
    blocks = np.kron(rng.choice(4, (rows, 2 * rows), p=[0.1, 0.3, 0.3, 0.3]), np.ones((32, 32), int))
    colours = np.array([[10, 20, 60], [30, 80, 30], [140, 130, 60], [200, 180, 140]])
    (folder / "bluemarble_monthly_2004").mkdir(parents=True)
    (folder / "labels_mcd12c1").mkdir()
    for month in range(1, months + 1):
        pixels = colours[blocks] * rng.uniform(0.8, 1.1) + rng.normal(0, 10, (*blocks.shape, 3))
        picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        picture.save(folder / "bluemarble_monthly_2004" / f"2004{month:02}.jpg")
    place = {"crs": "EPSG:4326", "origin": (-180, 90), "pixel": 360 / blocks.shape[1], "nodata": 255}
    write_raster(folder / "labels_mcd12c1" / "labels.tif", kinds[blocks][None].astype(np.uint8), **place)
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def store(world, tmp_path_factory: pytest.TempPathFactory):
    """A chip store of that world: 100 places, three dates, three classes."""
    from core.prepare import main

    paths, labels = world
    out = tmp_path_factory.mktemp("stores") / "store"
    call(main, "rasters", *paths, "--size", 32, "--labels", labels, "--out", out)
    from core.store.read import ChipStore

    return ChipStore(out)


@pytest.fixture(scope="module")
def one_thread():
    """Networks this small lose time to threads, and sums of floats depend on their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def call(main, *arguments: object) -> int:
    """Run a command's main in this process, as from a shell."""
    import sys
    from unittest import mock

    with mock.patch.object(sys, "argv", ["command", *map(str, arguments)]):
        return main()


@pytest.fixture(scope="session")
def real() -> Path:
    if not REAL.is_dir():
        pytest.skip("the real imagery (shared/data beside the checkout) is not there")
    return REAL
