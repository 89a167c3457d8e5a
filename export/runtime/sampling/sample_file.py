"""The GeoPackage of a sample: its points in a random order, and all that is needed to label them and to compare them with the map.

Layer ``sample`` has the points; ``number`` is the order, ``stratum`` and ``map`` say where they were drawn, ``class`` is empty
until a point is labelled, ``notes`` and ``labelled`` (UTC) belong to that. Tables: ``sample_strata``, ``sample_classes`` with the
pixels and hectares of the map, ``sample_settings``. Each answer is one transaction: whatever fails, the file holds what it held.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputFault
from ..raster.legend import LandClass, from_to, palette
from ..results.assessment import as_columns
from ..results.vectors import VectorOut
from .design import Stratum, standard_error
from .draw import Drawn

POINTS, STRATA, CLASSES, SETTINGS = "sample", "sample_strata", "sample_classes", "sample_settings"
VERSION = "1"
_COLUMNS = {"number": "int64", "stratum": "int32", "map": "int32", "class": "str", "notes": "str", "labelled": "str"}
_PATIENCE = 2.0  # seconds that another program may write


@dataclass(frozen=True)
class Point:
    """A point of a sample, in the CRS of the file.

    Attributes:
        fid: its row in the file.
        number: its place in the order of labelling, from 1.
        stratum: index of its stratum.
        mapped: its class of the map.
        answer: name of its true class; "" while it has none.
        seen: whether it was shown and left, with or without an answer.
    """

    fid: int
    number: int
    x: float
    y: float
    stratum: int
    mapped: int
    answer: str
    notes: str
    seen: bool


@dataclass(frozen=True)
class SampleFile:
    """What a file holds.

    Attributes:
        classes: that a point may have; those of the map and, of a map of change, all others that are possible.
        mapped: pixels and square metres of the classes of the map by their values.
        settings: how the sample was drawn.
    """

    path: Path
    points: tuple[Point, ...]
    strata: tuple[Stratum, ...]
    classes: tuple[LandClass, ...]
    mapped: dict[int, tuple[int, float]]
    settings: dict[str, str]


def write_sample(
    out: Path, drawn: Drawn, names: dict[int, str], colors: dict[int, str], grid: Any, where: str, vector: VectorOut
) -> None:
    """Make a new file; ``colors`` are ``RRGGBB`` of classes, ``where`` is the map.

    Raises:
        InputFault: it cannot be written.
    """
    empty = np.full(len(drawn), "", object)
    numbers = np.arange(1, len(drawn) + 1)
    columns: list[np.ndarray] = [
        numbers,
        drawn.stratum.astype(np.int32),
        drawn.value.astype(np.int32),
        empty,
        empty,
        empty,
    ]
    places = np.column_stack(grid.at(drawn.columns + 0.5, drawn.rows + 0.5))
    if vector.write(out, POINTS, "Point", grid, _COLUMNS, [(vector.points(places), columns)]) != len(drawn):
        raise InputFault("incomplete", where=out.name)
    with _database(out, "rw", _PATIENCE) as database:
        _blank_texts(database)
        strata = [(at, *asdict(one).values()) for at, one in enumerate(drawn.strata)]
        _table(database, STRATA, "stratum INTEGER, name TEXT, kind TEXT, class INTEGER, pixels INTEGER, m2 REAL, "
               "accuracy REAL, points INTEGER", strata)  # fmt: skip
        rows = [
            (c.value, c.name, f"#{c.color}", *drawn.mapped.get(c.value, (0, 0.0)))
            for c in _legend(names, colors, drawn)
        ]
        _table(database, CLASSES, "class INTEGER, name TEXT, color TEXT, pixels INTEGER, m2 REAL", rows)
        wanted = drawn.wanted
        settings = {
            "version": VERSION, "map": where, "seed": wanted.seed, "standard_error": wanted.error, "least": wanted.least,
            "distance_m": wanted.distance, "pixel": " ".join(repr(float(grid.transform[at])) for at in (0, 1, 3, 4)), "buffer_px": wanted.buffer,
            "change": ", ".join(stratum.name for stratum in drawn.strata if stratum.kind == "change"),
        }  # fmt: skip
        _table(database, SETTINGS, "name TEXT, value TEXT", [(name, str(value)) for name, value in settings.items()])


def summary(drawn: Drawn) -> str:
    """The strata and what is expected of them, as a text in aligned columns."""
    strata = drawn.strata
    whole = sum(one.m2 for one in strata)
    rows = [
        [
            one.name,
            one.kind,
            f"{one.m2 / 1e4:,.1f}",
            f"{100 * one.m2 / whole:.2f}",
            f"{one.accuracy:g}",
            str(one.points),
        ]
        for one in strata
    ]
    facts = (np.array([getattr(one, name) for one in strata]) for name in ("m2", "pixels", "accuracy", "points"))
    expected = f"expected standard error of the overall accuracy {standard_error(*facts):.4f}"
    return as_columns({"strata": [["", "", "ha", "%", "expected accuracy", "points"], *rows], expected: []})


def _blank_texts(database: sqlite3.Connection) -> None:
    database.execute(f'UPDATE {POINTS} SET "class" = NULL, notes = NULL, labelled = NULL')  # nosec B608


def _table(database: sqlite3.Connection, name: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
    database.execute(f"CREATE TABLE {name} (fid INTEGER PRIMARY KEY, {columns})")
    marks = ", ".join("?" * len(rows[0]))
    database.executemany(f"INSERT INTO {name} VALUES (NULL, {marks})", rows)  # nosec B608  # a name of ours
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES (?, 'attributes', ?)", (name, name)
    )


def _legend(names: dict[int, str], colors: dict[int, str], drawn: Drawn) -> list[LandClass]:
    """Classes of the map, then every change between its classes that it does not show."""
    named = {**names, **{value: names.get(value, str(value)) for value in drawn.mapped}}
    legend = [LandClass(value, name, colors.get(value) or palette(value)) for value, name in sorted(named.items())]
    changes = from_to(named)
    known = {name.casefold() for name in named.values()} | {f"{a} to {b}".casefold() for a, b in changes.values()}
    sides = dict.fromkeys(side for pair in changes.values() for side in pair)
    sides.update(dict.fromkeys(name for value, name in sorted(named.items()) if changes and value not in changes))
    alone = [name for name in sides if name.casefold() not in known]  # stable, but nowhere on the map
    missing = [
        *alone,
        *(f"{a} to {b}" for a in sides for b in sides if a != b and f"{a} to {b}".casefold() not in known),
    ]
    first = max(named, default=0) + 1
    return legend + [LandClass(number, name, palette(number)) for number, name in enumerate(missing, first)]


def is_sample(path: Path) -> bool:
    """Whether a file is one of these."""
    try:
        with _database(path, "ro", _PATIENCE) as database:
            return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (SETTINGS,)).fetchall())
    except InputFault:
        return False


def read_sample(path: Path) -> SampleFile:
    """All of a file.

    Raises:
        InputFault: it cannot be read, or is another kind of file.
    """
    if not path.is_file():
        raise InputFault("no_such_file", where=path)
    if not is_sample(path):
        raise InputFault("not_a_sample", where=path)
    with _database(path, "ro", _PATIENCE) as database:
        settings = dict(database.execute(f"SELECT name, value FROM {SETTINGS}"))  # nosec B608
        query = f"SELECT name, kind, class, pixels, m2, accuracy, points FROM {STRATA} ORDER BY stratum"  # nosec B608
        strata = tuple(Stratum(*row) for row in database.execute(query))
        rows = database.execute(f"SELECT class, name, color, pixels, m2 FROM {CLASSES} ORDER BY fid").fetchall()  # nosec B608
        points = tuple(
            Point(fid, number, *_place(shape), stratum, mapped, answer or "", notes or "", bool(labelled))
            for fid, number, shape, stratum, mapped, answer, notes, labelled in database.execute(
                f'SELECT rowid, number, geom, stratum, map, "class", notes, labelled FROM {POINTS} ORDER BY number, rowid'  # nosec B608
            )
        )
    classes = tuple(LandClass(value, name, color.lstrip("#")) for value, name, color, _, _ in rows)
    return SampleFile(path, points, strata, classes, {row[0]: (row[3], row[4]) for row in rows if row[3]}, settings)


def check_replaces_no_answers(path: Path) -> None:
    """Refuse to make a sample where one lies that somebody has begun to label.

    Raises:
        InputFault: there is one.
    """
    if path.is_file() and is_sample(path):
        labelled = sum(bool(point.answer or point.notes) for point in read_sample(path).points)
        if labelled:
            raise InputFault("sample_holds_answers", where=path, count=labelled)


def check_writable(path: Path) -> None:
    """Find out whether answers can be saved.

    Raises:
        InputFault: they cannot; also while another program writes.
    """
    with _database(path, "rw", _PATIENCE):
        pass


def save_answers(path: Path, points: Sequence[Point], patience: float = _PATIENCE) -> None:
    """Write what points are now: all of it or nothing. They count as seen from now on.

    ``patience`` is how many seconds another program may write.

    Raises:
        InputFault: it cannot be written; the file holds what it held.
    """
    if not path.is_file():
        raise InputFault("sample_gone", where=path)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with _database(path, "rw", patience) as database:
        for point in points:
            values = (point.answer or None, point.notes or None, now, point.fid)
            changed = database.execute(
                f'UPDATE {POINTS} SET "class" = ?, notes = ?, labelled = ? WHERE rowid = ?',  # nosec B608
                values,
            ).rowcount
            if changed != 1:
                raise InputFault("sample_point_gone", where=path, number=point.number)


@contextmanager
def _database(path: Path, mode: str, patience: float) -> Iterator[sqlite3.Connection]:
    """A file within a transaction, which is undone if anything fails."""
    try:
        with closing(sqlite3.connect(path, timeout=patience, isolation_level=None)) as database:
            for name in ("IsEmpty", "MinX", "MaxX", "MinY", "MaxY"):  # GDAL's triggers name them; no geometry changes
                database.create_function(f"ST_{name}", 1, _unused)
            database.execute("BEGIN" if mode == "ro" else "BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
    except sqlite3.Error as error:
        if "locked" in str(error) or "busy" in str(error):
            raise InputFault("sample_locked", where=path) from error
        raise InputFault("not_readable" if mode == "ro" else "not_writable", where=path, reason=str(error)) from error


def _unused(shape: bytes) -> None:
    return None


def _place(shape: bytes) -> tuple[float, float]:
    """Of a point as GeoPackages hold it: a header with or without an envelope, and WKB."""
    envelope = (0, 32, 48, 48, 64)[(shape[3] >> 1) & 7]
    at = 8 + envelope
    x, y = struct.unpack_from("<dd" if shape[at] else ">dd", shape, at + 5)
    return x, y
