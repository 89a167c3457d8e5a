"""A grid's outline in another CRS, and straight sides of that CRS bent as they run on the grid.

The host's library moves coordinates; nothing here knows a CRS. A move that cannot be trusted is reported, so that the
caller takes the slow way: each pixel's middle moved to the other CRS.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import numpy as np

Move = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # x, y; not finite where no place exists

_SIDE = 512  # pieces of each side of an outline, at most
_EXACT = 0.05  # px: a straight side lies at most so far from the true curve
_ROUNDS = 24  # of halving
_TEST = 0.4  # where along a side it is tested: not its middle, which a curve of the shape of an S meets


class Way(NamedTuple):
    """Between another CRS and a grid's.

    Attributes:
        there: from the other CRS to the grid's.
        back: from the grid's CRS to the other.
        own_turn: units of a full turn of longitude in the other CRS; 0 where it is projected.
        grid_turn: the same of the grid's CRS.
        alike: whether both count longitude around the same axis.
        exact: how far a moved side may lie from the true curve, in units of the grid's CRS; 0: part of a pixel.
        same: whether the other CRS is the grid's own.
    """

    there: Move
    back: Move
    own_turn: float = 0.0
    grid_turn: float = 0.0
    alike: bool = True
    exact: float = 0.0
    same: bool = False


def outline(grid: Any) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (x, y) along the four sides of a grid, from the upper left; the first is not repeated."""
    pieces = min(_SIDE, max(grid.shape))
    along = np.arange(pieces) / pieces
    ends, starts = np.ones(pieces), np.zeros(pieces)
    columns = np.concatenate([along, ends, 1 - along, starts]) * grid.width
    rows = np.concatenate([starts, along, ends, 1 - along]) * grid.height
    return grid.at(columns, rows)


def frame(grid: Any, way: Way) -> np.ndarray | None:
    """A grid's outline in the other CRS, (N, 2), not closed; None where parts of it have no place there.

    Longitudes run on beyond half a turn rather than jump. Around a pole the ring is led along the pole, and begins and
    ends a little beyond a full turn, so that what is cut by it leaves no gap.
    """
    x, y = outline(grid)
    own_x, own_y = way.back(x, y)
    if not np.isfinite(own_x + own_y).all():
        return None
    again = placed(np.column_stack([own_x, own_y]), grid, way)
    apart = np.hypot(_turned(again[:, 0] - x, way.grid_turn), again[:, 1] - y)
    if not (apart <= 0.25 * _pixel(grid)).all():
        return None
    if not way.own_turn:
        return np.column_stack([own_x, own_y])
    closed = unrolled(np.column_stack([np.append(own_x, own_x[0]), np.append(own_y, own_y[0])]), way.own_turn)[:, 0]
    own_x, winds = closed[:-1], np.rint((closed[-1] - closed[0]) / way.own_turn)
    if way.grid_turn and way.alike:  # counted from the same meridian as the grid's own
        own_x += way.own_turn * np.rint(x[0] / way.grid_turn - own_x[0] / way.own_turn)
    poles = poles_inside(grid, way)
    if abs(winds) != len(poles):
        return None
    if poles:
        beyond = max(1, len(own_x) // 64)
        own_x = np.concatenate([own_x, own_x[:beyond] + winds * way.own_turn])
        own_x, own_y = np.append(own_x, own_x[[-1, 0]]), np.concatenate([own_y, own_y[:beyond], [poles[0]] * 2])
    return np.column_stack([own_x, own_y])


def poles_inside(grid: Any, way: Way) -> list[float]:
    """Latitudes of the poles that lie within the grid as points, where all meridians meet."""
    quarter, found = way.own_turn / 4, []
    for latitude in (quarter, -quarter):
        x, y = way.there(np.arange(4) * quarter, np.full(4, latitude))
        if np.isfinite(x + y).all() and np.ptp(x) + np.ptp(y) < _pixel(grid):
            column, row = grid.pixel_at(x[0], y[0])
            if 0 < column < grid.width and 0 < row < grid.height:
                found.append(latitude)
    return found


def turns(grid_frame: np.ndarray, west: float, east: float, way: Way) -> list[float]:
    """What to add to longitudes from ``west`` to ``east`` of the other CRS so that they can lie in a grid's frame."""
    if not way.own_turn:
        return [0.0]
    first, last = grid_frame[:, 0].min() - east, grid_frame[:, 0].max() - west
    return [n * way.own_turn for n in range(int(np.ceil(first / way.own_turn)), int(last // way.own_turn) + 1)]


def bent(points: np.ndarray, ring: np.ndarray, grid: Any, way: Way) -> tuple[np.ndarray, np.ndarray] | None:
    """Move closed rings onto a grid's CRS, with as many new corners as straight sides need there.

    Args:
        points: (N, 2) corners in the other CRS, within the grid's frame.
        ring: (N,) number of each corner's ring, ascending.
        grid: gives the pixel size.
        way: between the two.

    Returns:
        (M, 2) corners and (M,) their rings; None where one cannot be moved truly.
    """
    moved = placed(points, grid, way)
    test = np.append(ring[1:] == ring[:-1], False)  # of the side that begins at each corner
    most, tolerance = 4 * len(points) + 1_000_000, way.exact or _EXACT * _pixel(grid)
    if not np.isfinite(moved).all():
        return None
    for _ in range(_ROUNDS):
        at = np.flatnonzero(test)
        if not len(at):
            return moved, ring
        if len(points) > most:
            return None
        between = points[at] + _TEST * (points[at + 1] - points[at])
        true = placed(between, grid, way)
        if not np.isfinite(true).all():
            return None
        bad = np.hypot(*(true - moved[at] - _TEST * (moved[at + 1] - moved[at])).T) > tolerance
        test[at[~bad]] = False
        at, new = at[bad], at[bad] + 1
        points, moved = np.insert(points, new, between[bad], axis=0), np.insert(moved, new, true[bad], axis=0)
        ring, test = np.insert(ring, new, ring[at]), np.insert(test, new, True)
    return None


def centres(grid: Any, way: Way) -> np.ndarray:
    """(rows * columns, 2) middles of a grid's pixels in the other CRS; not finite where they have no place there."""
    columns, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    return np.column_stack(way.back(*grid.at(columns.ravel(), rows.ravel())))


def placed(points: np.ndarray, grid: Any, way: Way) -> np.ndarray:
    """Move (N, 2) points to a grid's CRS, to the longitudes that it counts; not finite where it has no such place.

    Longitudes of the other CRS are those of the grid's frame, if the grid has longitudes too.
    """
    x, y = way.there(points[:, 0], points[:, 1])
    if way.grid_turn:
        middle = grid.at(grid.width / 2, grid.height / 2)[0] / way.grid_turn
        expected = points[:, 0] / way.own_turn if way.own_turn and way.alike else middle
        with np.errstate(invalid="ignore"):  # no place there
            x = x + way.grid_turn * np.rint(expected - x / way.grid_turn)
    return np.column_stack([x, y])


def _pixel(grid: Any) -> float:
    return float(np.sqrt(grid.pixel_area))


def unrolled(ring: np.ndarray, turn: float) -> np.ndarray:
    """(N, 2) corners whose longitudes run on beyond half a turn, the shorter way around from each to the next."""
    steps = np.diff(ring[:, 0], prepend=ring[0, 0])
    return np.column_stack([ring[:, 0] - turn * np.cumsum(np.rint(steps / turn)), ring[:, 1:]])


def _turned(difference: np.ndarray, turn: float) -> np.ndarray:
    return difference - turn * np.rint(difference / turn) if turn else difference
