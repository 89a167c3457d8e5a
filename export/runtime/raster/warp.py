"""From a raster's pixels to those of a grid that lies anyhow to it. Pure numpy, no files.

Every pixel's place and weights follow from its own number in the grid alone, and are summed in one order: so it has the
same value, bit for bit, whichever window it is read in. Pixels without data weigh nothing: no gap bleeds into a value.
"""

from __future__ import annotations

from typing import Callable

import numpy as np

from .window import Read, Window

# (columns, rows) of pixels' middles, 0.5 for the first, to two numbers each; not finite where there are none
Exact = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
_STEPS = (64, 32, 16, 8, 4, 2)  # px between places that are asked for
_LOOKS = 24  # places a side where a step is tried
_AT_ONCE = 2**22  # source pixels that are held at once, of each band
_WHOLE = 0.01  # px: so far from a whole pixel, at most, a shift counts as one of whole pixels


class Mesh:
    """Two numbers of each pixel of a grid, such as where it lies in another CRS.

    Asked for at every ``step`` px, and between them interpolated (bilinear); ``step`` is 1 where that would be wrong.
    """

    def __init__(self, exact: Exact, shape: tuple[int, int], tolerance: float, turn: float = 0.0) -> None:
        """Find the step for a grid of ``shape``.

        ``tolerance`` is how wrong a number may be; the first jumps by a whole ``turn`` where that is given, as a
        longitude does.
        """
        self._exact, self._turn = exact, turn
        self.step = next((step for step in _STEPS if self._is_fine(step, shape, tolerance)), 1)

    def __call__(self, window: Window) -> np.ndarray:
        """(2, rows, columns) float64 of a window, which may reach beyond the grid."""
        rows, columns = window.row + np.arange(window.height), window.column + np.arange(window.width)
        if self.step == 1:
            return np.stack(self._at(columns + 0.5, rows + 0.5))
        (low, down), (left, across) = self._nodes(rows), self._nodes(columns)
        nodes = np.stack(
            self._at(
                np.arange(left[0], left[-1] + 2) * self.step + 0.5, np.arange(low[0], low[-1] + 2) * self.step + 0.5
            )
        )
        tall = self._between(nodes[:, low - low[0]], nodes[:, low - low[0] + 1], down[None, :, None])
        return self._between(tall[:, :, left - left[0]], tall[:, :, left - left[0] + 1], across)

    def _nodes(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number of the node before each pixel, and how far on it is to the next, from 0 to 1."""
        return pixels // self.step, (pixels % self.step) / self.step

    def _at(self, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wide, tall = np.meshgrid(columns, rows)
        one, other = self._exact(wide.ravel(), tall.ravel())
        return one.reshape(wide.shape), other.reshape(wide.shape)

    def _between(self, first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # where there are no numbers
            apart = second - first
            if self._turn:
                apart[0] -= self._turn * np.rint(apart[0] / self._turn)
            return first + apart * share

    def _is_fine(self, step: int, shape: tuple[int, int], tolerance: float) -> bool:
        """Whether interpolation is right in the middle of cells all over the grid."""
        rows, columns = (
            np.unique(np.linspace(0, max(length - step, 0), _LOOKS).astype(int)) // step * step for length in shape
        )
        corners = [self._at(columns + across + 0.5, rows + down + 0.5) for down in (0, step) for across in (0, step)]
        (a, b, c, d), half = (np.stack(corner) for corner in corners), np.array(0.5)
        middle = self._between(self._between(a, b, half), self._between(c, d, half), half)
        with np.errstate(invalid="ignore"):
            apart = middle - np.stack(self._at(columns + step / 2 + 0.5, rows + step / 2 + 0.5))
            if self._turn:
                apart[0] -= self._turn * np.rint(apart[0] / self._turn)
        return bool((np.abs(apart) <= tolerance / 4).all())  # not finite: not fine


def shift_of(exact: Exact, shape: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns to add to a pixel of a grid for its own in a raster; None where they are not whole numbers.

    ``exact`` gives column and row in the raster; ``shape`` is the grid's.
    """
    height, width = shape
    columns, rows = np.array([0.5, width - 0.5, 0.5, width - 0.5]), np.array([0.5, 0.5, height - 0.5, height - 0.5])
    across, down = exact(columns, rows)
    across, down = across - columns, down - rows
    if not np.isfinite(across + down).all():
        return None
    apart = max(np.abs(across - np.rint(across[0])).max(), np.abs(down - np.rint(down[0])).max())
    return (int(np.rint(down[0])), int(np.rint(across[0]))) if apart <= _WHOLE else None


def shifted(read: Read, shape: tuple[int, int], shift: tuple[int, int]) -> Read:
    """Read a raster of ``shape`` in pixels of a grid of which each is one of its own; beyond it there is no data."""
    whole = Window(0, 0, *shape)

    def read_target(window: Window) -> tuple[np.ndarray, np.ndarray]:
        own = window.moved(*shift)
        held = whole.intersection(own)
        if held == own:
            return read(own)
        pixels, there = read(held or Window(0, 0, 1, 1))  # a pixel, for the number and the type of the bands
        values = np.zeros((len(pixels), window.height, window.width), pixels.dtype)
        valid = np.zeros((window.height, window.width), bool)
        if held:
            down, across = held.row - own.row, held.column - own.column
            inside = slice(down, down + held.height), slice(across, across + held.width)
            values[(slice(None), *inside)], valid[inside] = pixels, there
        return values, valid

    return read_target


def warped(read: Read, shape: tuple[int, int], places: Mesh, size: float = 1.0, nearest: bool = False) -> Read:
    """Read a raster of ``shape`` in pixels of another grid, as float32; ``nearest``: the raster's own values.

    A pixel holds data where the raster's pixel below its middle does. Its value is bilinear, of pixels with data alone;
    where it is ``size`` times as large as the raster's, of the means of so many of them.

    Args:
        read: gives the raster's pixels.
        shape: of the raster, rows and columns.
        places: gives column and row in the raster of each pixel of the grid.
        size: side of a pixel of the grid in the raster's pixels.
        nearest: for values that stand for something, which no mean does.
    """
    block = 1 if nearest else max(1, int(size + 0.5))
    height, width = shape

    def read_target(window: Window) -> tuple[np.ndarray, np.ndarray]:
        across, down = places(window)
        with np.errstate(invalid="ignore"):
            inside = (across >= 0) & (across < width) & (down >= 0) & (down < height)
        values: np.ndarray | None = None
        valid = np.zeros(inside.shape, bool)
        strip = max(1, int(_AT_ONCE / max(window.width * size * size, 1)))
        for top in range(0, window.height, strip):
            part = slice(top, top + strip)
            if not inside[part].any():
                continue
            taken, there = _gathered(read, shape, across[part], down[part], inside[part], block, nearest)
            if values is None:
                values = np.zeros((len(taken), *inside.shape), taken.dtype)
            values[:, part], valid[part] = taken, there
        if values is None:  # a pixel, for the number of the bands
            pixel, _ = read(Window(0, 0, 1, 1))
            values = np.zeros((len(pixel), *inside.shape), pixel.dtype if nearest else np.float32)
        return values, valid

    return read_target


def _gathered(
    read: Read,
    shape: tuple[int, int],
    across: np.ndarray,
    down: np.ndarray,
    inside: np.ndarray,
    block: int,
    nearest: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Values (bands, rows, columns) at places of a raster, and where they are data."""
    rows, columns = np.where(inside, down, 0), np.where(inside, across, 0)
    row, column = rows.astype(np.int64), columns.astype(np.int64)
    held = _around(row[inside], column[inside], block, shape)
    pixels, there = read(held)
    row, column = row - held.row, column - held.column
    row[~inside] = column[~inside] = 0
    valid = inside & there[row, column]
    if nearest:
        return np.where(valid, pixels[:, row, column], 0), valid
    values, weights = _means(np.where(there, pixels, 0).astype(np.float32), there, block)
    tall, wide = weights.shape
    total, weight = np.zeros((len(pixels), *inside.shape), np.float32), np.zeros(inside.shape, np.float32)
    first_row, first_column = (held.row // block, held.column // block)
    at_row, at_column = rows / block - 0.5, columns / block - 0.5
    low, left = np.floor(at_row), np.floor(at_column)
    below, right = (at_row - low).astype(np.float32), (at_column - left).astype(np.float32)
    low, left = low.astype(np.int64) - first_row, left.astype(np.int64) - first_column
    for step_down, share_down in ((0, 1 - below), (1, below)):
        for step_right, share_right in ((0, 1 - right), (1, right)):
            take_row, take_column = low + step_down, left + step_right
            known = (take_row >= 0) & (take_row < tall) & (take_column >= 0) & (take_column < wide)
            take_row, take_column = np.where(known, take_row, 0), np.where(known, take_column, 0)
            share = share_down * share_right * known * weights[take_row, take_column]
            total += share * values[:, take_row, take_column]
            weight += share
    valid &= weight > 0
    return np.where(valid, total / np.where(valid, weight, 1), np.float32(0)), valid


def _around(rows: np.ndarray, columns: np.ndarray, block: int, shape: tuple[int, int]) -> Window:
    """The window of whole blocks that holds pixels and the blocks beside theirs."""
    (top, bottom), (left, right) = (
        (max(int(of.min()) // block - 1, 0) * block, min((int(of.max()) // block + 2) * block, length))
        for of, length in zip((rows, columns), shape)
    )
    return Window(top, left, bottom - top, right - left)


def _means(values: np.ndarray, there: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of blocks of the pixels that are there, (bands, rows, columns), and how many of a block's are, 0 to 1."""
    if block == 1:
        return values, there.astype(np.float32)
    rows, columns = (-(-length // block) * block for length in there.shape)
    more = (0, rows - there.shape[0]), (0, columns - there.shape[1])
    layers = np.pad(np.concatenate([values, there[None].astype(np.float32)]), ((0, 0), *more))
    total = np.zeros((len(layers), rows // block, columns), np.float32)
    for number in range(block):
        total += layers[:, number::block]
    sums = np.zeros((*total.shape[:2], columns // block), np.float32)
    for number in range(block):
        sums += total[:, :, number::block]
    count = sums[-1]
    return sums[:-1] / np.where(count > 0, count, 1), count / np.float32(block * block)
