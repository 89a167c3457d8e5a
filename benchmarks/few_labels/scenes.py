"""Scenes whose every pixel is known, and labels drawn from them as an analyst would paint them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image

UNKNOWN = 255
_DUBAI = ((60, 16, 152), (132, 41, 246), (110, 193, 228), (254, 221, 58), (226, 169, 41))  # colours of its masks
_SIDES = 512, 640  # px: the middle of a larger image
_SQUARE = 5  # px: a label
_CHIP, _ACROSS = 64, 24  # px of a EuroSAT chip, and chips along a side of the mosaic


@dataclass(frozen=True)
class Scene:
    """An image and the class of each pixel.

    Attributes:
        pixels: (3, rows, columns) uint8.
        truth: (rows, columns) uint8, ``UNKNOWN`` where there is none.
        chips: whether labels are whole chips of a mosaic, instead of squares of ``_SQUARE`` px.
    """

    name: str
    pixels: np.ndarray
    truth: np.ndarray
    chips: bool = False

    def labels(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """``count`` labels of each class, fewer where there is no room.

        Returns:
            (N,) rows, columns and number of the label of their pixels, at most 256 of a label; (P,) classes of the labels.
        """
        rng = np.random.default_rng(1000 * count + seed)
        side, step = (_CHIP, _CHIP // 16) if self.chips else (_SQUARE, 1)
        down, across = (part.ravel() for part in np.mgrid[0:side:step, 0:side:step])
        corners, classes = [], []
        taken = np.zeros(self.truth.shape, bool)
        for value in np.unique(self.truth[self.truth != UNKNOWN]):
            found = 0
            for row, column in rng.permutation(self._corners(value, side))[:5000]:
                square = slice(row, row + side), slice(column, column + side)
                if taken[square].any() or (self.truth[square] != value).any():
                    continue
                taken[square] = True
                corners.append((row, column))
                classes.append(value)
                found += 1
                if found == count:
                    break
        at = np.array(corners)
        rows, columns = (at[:, :1] + down).ravel(), (at[:, 1:] + across).ravel()
        return rows, columns, np.repeat(np.arange(len(at)), len(down)), np.array(classes, np.int64)

    def unlabelled(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(rows, columns) of pixels with a class outside the labels that these pixels are of."""
        side = _CHIP if self.chips else 1
        free = self.truth != UNKNOWN
        marked = np.zeros([-(-size // side) for size in free.shape], bool)
        marked[rows // side, columns // side] = True
        return free & ~np.kron(marked, np.ones((side, side), bool))[: free.shape[0], : free.shape[1]]

    def _corners(self, value: int, side: int) -> np.ndarray:
        if self.chips:
            return np.argwhere(self.truth[::side, ::side] == value) * side
        return np.argwhere(self.truth[: 1 - side, : 1 - side] == value)


def dubai(folder: Path, count: int) -> Iterator[Scene]:
    """Aerial images of five classes: evenly of all, the middle of each."""
    masks = sorted(folder.glob("Tile */masks/*.png"))
    for path in masks[len(masks) // count // 2 :: max(len(masks) // count, 1)][:count]:
        mask = np.asarray(Image.open(path).convert("RGB"))
        image = np.asarray(Image.open(path.parents[1] / "images" / f"{path.stem}.jpg").convert("RGB"))
        truth = np.full(mask.shape[:2], UNKNOWN, np.uint8)
        for number, color in enumerate(_DUBAI):
            truth[(mask == color).all(axis=2)] = number
        top, left = (max(size - most, 0) // 2 for size, most in zip(truth.shape, _SIDES))
        part = slice(top, top + _SIDES[0]), slice(left, left + _SIDES[1])
        yield Scene(f"{path.parents[1].name} {path.stem}", image[part].transpose(2, 0, 1), truth[part])


def terramind(folder: Path) -> Iterator[Scene]:
    """Sentinel-2 images with a land-cover map, where they show more than one class."""
    for path in sorted((folder / "LULC").glob("*.tif")):
        with rasterio.open(path) as labels, rasterio.open(folder / "S2RGB" / path.name) as image:
            truth, pixels = labels.read(1), image.read()[:3]
        if len(np.unique(truth)) > 1:
            yield Scene(path.stem, pixels, truth)


def eurosat(folder: Path) -> Iterator[Scene]:
    """One mosaic of test chips, all classes equally often, in random order."""
    by_class: dict[str, list[str]] = {}
    for name in (folder / "split_test.txt").read_text().split():
        by_class.setdefault(name.split("/")[0], []).append(name)
    rng = np.random.default_rng(0)
    each = -(-(_ACROSS**2) // len(by_class))
    chosen = [(n, name) for n, key in enumerate(sorted(by_class)) for name in rng.permutation(by_class[key])[:each]]
    side = _ACROSS * _CHIP
    pixels, truth = np.zeros((3, side, side), np.uint8), np.zeros((side, side), np.uint8)
    with tarfile.open(next(folder.glob("*.tar"))) as archive:
        for place, number in enumerate(rng.permutation(len(chosen))[: _ACROSS**2]):
            value, name = chosen[number]
            file = archive.extractfile(f"2750/{name}")
            assert file is not None
            top, left = (part * _CHIP for part in divmod(place, _ACROSS))
            chip = np.asarray(Image.open(io.BytesIO(file.read())))
            pixels[:, top : top + _CHIP, left : left + _CHIP] = chip.transpose(2, 0, 1)
            truth[top : top + _CHIP, left : left + _CHIP] = value
    yield Scene("mosaic", pixels, truth, chips=True)
