"""``core.prepare table``: a CSV or GeoParquet with one row per image: photographs, patches, GeoImageNet.

The table is read in batches and rewritten as a listing for ``core.sources.image_list``; rows that cannot be used
are reported by number.
"""

from __future__ import annotations

import argparse
import csv
import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pyproj
import shapely
from pyproj.exceptions import ProjError
from tqdm import tqdm

from core.errors import UserError, first_line
from core.imagery.crops import FITS
from core.imagery.dates import check_date_format, plausible_years
from core.imagery.labels import legend_of, numbers_of, read_legend
from core.sources.image_list import LISTING, ImageList
from core.sources.options import add_options, check_positive, check_size
from core.store.build import Tally
from core.store.index import connect, literal, parquet
from core.store.read import LandClass, StoreInfo
from core.store.sphere import wrapped
from export.runtime.raster.names import is_path

FIELDS = ("path", "lon", "lat", "datetime", "place", "label", "split", "mask")
COORDINATES = ("table", "files", "none")
SIDES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_RAW = pa.schema(
    [*(f for f in LISTING if f.name != "label"), pa.field("label", pa.string()), pa.field("line", pa.int64())]
)


def add_parser(sources: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """The command line of this source."""
    parser = sources.add_parser(
        "table",
        help="images listed in a CSV or GeoParquet: photographs, patches, your own dataset",
        description="Make chips of the images in a table, one row per image. Columns: path (or a URL or GDAL's name, such as "
        "netcdf:cube.nc:ndvi); lon and lat (degrees, WGS 84; in a "
        "GeoParquet its points); optionally datetime, place (images of one place share it; by default those of the same "
        "coordinates), label, split (train, val, test), mask (a label image).",
    )
    add = parser.add_argument
    add("table", type=Path, metavar="FILE", help=".csv, .tsv or .parquet")
    add_options(parser, "--size")
    add("--root", type=Path, metavar="DIR", help="folder that paths are relative to (default: the table's)")
    add(
        "--columns", nargs="+", default=[], metavar="FIELD=COLUMN",
        help="names of columns that differ, e.g. lon=longitude path=file_name",
    )  # fmt: skip
    add(
        "--fit", choices=FITS, default="resize",
        help="resize: the largest centred square, scaled to a chip; cut: chips side by side at full resolution "
        "(default %(default)s)",
    )  # fmt: skip
    add(
        "--coordinates", choices=COORDINATES, default="table",
        help="source of lon and lat: the table, the files' own georeference, or none (default %(default)s)",
    )  # fmt: skip
    add("--date-format", help="strptime format of datetime (default: ISO 8601, e.g. 2024-06-30)")
    add_options(parser, "--legend", "--unit", "--nodata-rule")
    add("--gsd", type=float, metavar="METRES", help="pixel size of a chip, if known")
    parser.set_defaults(make=make)
    return parser


def make(arguments: argparse.Namespace, scratch: Path) -> ImageList:
    """The source that a command line describes."""
    check_size(arguments)
    check_positive(arguments, "gsd")
    if arguments.date_format:
        check_date_format(arguments.date_format)
    reader = _Reader(
        arguments.table, _mapping(arguments), arguments.coordinates, arguments.date_format, arguments.max_bad
    )
    raw, unsorted = scratch / "raw.parquet", scratch / "unsorted.parquet"
    reader.write(raw)
    classes = read_legend(arguments.legend) if arguments.legend else None
    with connect(scratch / "spill") as db:
        db.execute(f"CREATE VIEW raw AS FROM {parquet(raw)}")
        _drop_duplicates(db, reader)
        classes = classes if classes is not None else _classes(db, "mask" in reader.fields, arguments.table)
        _number_labels(db, classes, arguments.table, unsorted)
    root = arguments.root or arguments.table.parent
    if not root.is_dir():
        raise UserError(f"--root {root}: no such folder")
    info = StoreInfo(
        (), "", arguments.unit or "", arguments.gsd, arguments.size, classes, provenance=arguments.table.name
    )  # fmt: skip
    located = arguments.coordinates == "files"
    return ImageList.of_listing(
        unsorted,
        scratch,
        root,
        info,
        reader.tally,
        fit=arguments.fit,
        locate=located,
        nodata_rule=arguments.nodata_rule,
    )


def _mapping(arguments: argparse.Namespace) -> dict[str, str]:
    mapping = {name: name for name in FIELDS}
    for entry in arguments.columns:
        name, equals, column = entry.partition("=")
        if not equals or name not in FIELDS:
            raise UserError(f"--columns {entry}: must look like lon=longitude; the fields are {', '.join(FIELDS)}")
        mapping[name] = column
    return mapping


@dataclass
class _Reader:
    """Reads the table in batches and checks each row."""

    table: Path
    mapping: dict[str, str]
    coordinates: str
    date_format: str | None
    max_bad: int
    tally: Tally = field(default_factory=Tally)
    fields: set[str] = field(default_factory=set)  # that the table has
    ragged: list[int] = field(default_factory=list)  # rows that the CSV reader skipped

    def write(self, path: Path) -> None:
        """Write the usable rows as a Parquet file of the fields, labels as text."""
        start = 0
        with pq.ParquetWriter(path, _RAW) as writer, tqdm(desc="reading the table", unit="row", delay=2) as progress:
            for piece in self._pieces():
                lines = np.arange(start + 1, start + 1 + len(piece) + len(self.ragged))
                piece["line"] = np.setdiff1d(lines, self.ragged)[: len(piece)]
                start = int(piece["line"].iloc[-1])
                progress.update(len(piece))
                writer.write_table(pa.Table.from_pandas(self._checked(piece), _RAW, preserve_index=False))
        if not start and not self.ragged:
            raise UserError(f"{self.table}: has no rows")

    def _pieces(self) -> Iterator[pd.DataFrame]:
        """The table with the fields' names; a CSV all as text."""
        try:
            yield from self._of_parquet() if self.table.suffix.lower() == ".parquet" else self._of_csv()
        except (OSError, pa.ArrowException, csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{self.table}: cannot be read as a table ({first_line(error)})") from error

    def _of_parquet(self) -> Iterator[pd.DataFrame]:
        file = pq.ParquetFile(self.table)
        columns = self._columns(file.schema_arrow.names)
        located = None if self.coordinates != "table" or {"lon", "lat"} <= self.fields else _geometry(file, self.table)
        self._require({"lon", "lat"} if located else set())
        for batch in file.iter_batches(50_000, columns=[*columns.values(), *([located[0]] if located else [])]):
            piece = batch.to_pandas()
            renamed = piece[list(columns.values())].set_axis(list(columns), axis=1)
            if located:
                column, to_lonlat = located
                centres = shapely.centroid(shapely.from_wkb(piece[column].to_numpy(), on_invalid="ignore"))
                renamed["lon"], renamed["lat"] = to_lonlat.transform(shapely.get_x(centres), shapely.get_y(centres))
            if len(renamed):
                yield renamed

    def _of_csv(self) -> Iterator[pd.DataFrame]:
        with self.table.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            separator = max(",;\t", key=header.count)  # the comma, where there is none
            file.seek(0)
            names = next(csv.reader(file, delimiter=separator), [])
        columns = self._columns(names)
        self._require(set())
        # In one thread, so that rows can be numbered.
        reading = pa_csv.ReadOptions(use_threads=False)
        parsing = pa_csv.ParseOptions(
            delimiter=separator, newlines_in_values=True, invalid_row_handler=self._note_ragged
        )
        as_text = pa_csv.ConvertOptions(
            include_columns=list(columns.values()), column_types={name: pa.string() for name in names},
            strings_can_be_null=True, null_values=[""],
        )  # fmt: skip
        with pa_csv.open_csv(self.table, reading, parsing, as_text) as rows:
            for batch in rows:
                if len(batch):
                    yield batch.to_pandas().set_axis(list(columns), axis=1)

    def _note_ragged(self, row: pa_csv.InvalidRow) -> str:
        line = row.number - 1  # the header counts as a row
        self.ragged.append(line)
        why = f"has {row.actual_columns} fields, the header {row.expected_columns}"
        self.tally.skip(f"{self.table.name} row {line}", why)
        return "skip"

    def _columns(self, names: list[str]) -> dict[str, str]:
        """Columns by field, of the fields that the table has."""
        for name, column in self.mapping.items():
            if names.count(column) > 1:
                raise UserError(f"{self.table}: has two columns {column}; rename one")
            if column != name and column not in names:
                raise UserError(f"{self.table}: has no column {column}; it has {', '.join(names)}")
        columns = {name: column for name, column in self.mapping.items() if column in names}
        if self.coordinates != "table":
            columns = {name: column for name, column in columns.items() if name not in ("lon", "lat")}
        self.fields = set(columns)
        return columns

    def _require(self, given: set[str]) -> None:
        needed = {"path"} | ({"lon", "lat"} if self.coordinates == "table" else set())
        missing = sorted(needed - self.fields - given)
        if missing:
            advice = "name the columns with --columns FIELD=COLUMN"
            if missing != ["path"]:
                advice += ", or give --coordinates files or --coordinates none if the table has none"
            raise UserError(f"{self.table}: has no column {' and no column '.join(missing)}; {advice}")

    def _checked(self, piece: pd.DataFrame) -> pd.DataFrame:
        """The usable rows of a batch, with all fields."""
        rows = pd.DataFrame({"line": piece["line"]})
        for name in ("path", "place", "label", "split", "mask"):
            rows[name] = _as_text(piece[name]) if name in piece else pd.Series(None, piece.index, "object")
        for name in ("path", "mask"):  # "./a.png" is "a.png"
            rows[name] = rows[name].map(_plain, na_action="ignore")
        rows["reach_m"] = np.nan  # a table does not state it
        wrong = pd.Series(None, piece.index, "object")
        wrong[rows["path"].isna()] = "has no path"
        for name in ("lon", "lat"):
            rows[name] = _degrees(piece, name, wrong)
        rows["datetime"] = _dates(piece, self.date_format, wrong)
        if "split" in piece:
            known = rows["split"].str.lower().map(SIDES)
            wrong[rows["split"].notna() & known.isna()] = "its split is none of train, val, test"
            rows["split"] = known
        located = rows["lon"].round(6).astype(str) + "," + rows["lat"].round(6).astype(str)
        rows["place"] = rows["place"].fillna(located.where(rows["lon"].notna(), rows["path"]))
        for line, why in zip(rows["line"][wrong.notna()], wrong.dropna()):
            self.leave_out(f"{self.table.name} row {line}", why)
        return rows[wrong.isna()]

    def leave_out(self, what: str, why: str) -> None:
        """Note a row that cannot be used, and stop if there are too many."""
        self.tally.skip(what, why)
        count = len(self.tally.bad)
        if count > self.max_bad + 1000:  # the rest would only fill memory
            raise UserError(f"{what}: {why} ({count} bad rows so far, --max-bad {self.max_bad}); correct the table")


def _geometry(file: pq.ParquetFile, name: Path) -> tuple[str, pyproj.Transformer] | None:
    """The geometry column of a GeoParquet and the way from its CRS to lon and lat; None if the file is none."""
    metadata = (file.schema_arrow.metadata or {}).get(b"geo")
    if metadata is None:
        return None
    try:
        geo = json.loads(metadata)
        column = geo["primary_column"]
        entry = geo["columns"][column]
        if entry["encoding"] != "WKB" or column not in file.schema_arrow.names:
            raise UserError(
                f"{name}: its geometry {column} is not a WKB column; write it as WKB, or give columns lon and lat"
            )
        crs = entry.get("crs", "OGC:CRS84")
        if crs is None:
            raise UserError(f"{name}: its geometry has no CRS; assign one, or give columns lon and lat")
        return column, pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    except (ValueError, KeyError, TypeError, ProjError) as error:
        raise UserError(f"{name}: is no valid GeoParquet ({first_line(error)}); write it again") from error


def _mark(wrong: pd.Series, rows: pd.Series, values: pd.Series, why: str) -> None:
    """Note what is wrong with a value, for rows of which nothing is noted yet."""
    for number in np.flatnonzero(rows & wrong.isna()):
        wrong.iloc[number] = f"{values.name} {values.iloc[number]} {why}"


def _degrees(piece: pd.DataFrame, name: str, wrong: pd.Series) -> pd.Series:
    if name not in piece:
        return pd.Series(np.nan, piece.index)
    degrees = pd.to_numeric(piece[name], errors="coerce")
    most = 90 if name == "lat" else 360
    why = f"is not within -{most} to {most} degrees"
    _mark(wrong, (degrees.abs() > most) & (degrees.abs() <= 360), piece[name], f"{why}; lon and lat may be swapped")
    _mark(wrong, ~(degrees.abs() <= most), piece[name], why)
    return degrees if name == "lat" else pd.Series(wrapped(degrees), degrees.index)


def _dates(piece: pd.DataFrame, date_format: str | None, wrong: pd.Series) -> pd.Series:
    if "datetime" not in piece:
        return pd.Series(pd.NaT, piece.index).dt.tz_localize("UTC")
    values = piece["datetime"]
    if not pd.api.types.is_datetime64_any_dtype(values):
        values = _as_text(values)
    dates = pd.to_datetime(values, format=date_format or "ISO8601", utc=True, errors="coerce")
    form = f"of the form {date_format}" if date_format else "an ISO date (2024-06-30)"
    _mark(wrong, dates.isna() & values.notna(), values, f"is not {form}; give its format with --date-format")
    years = plausible_years()
    _mark(wrong, dates.notna() & ~dates.dt.year.isin(years), values, f"is not within {years[0]} to {years[-1]}")
    return dates


def _as_text(values: pd.Series) -> pd.Series:
    """Text or None; whole numbers without a decimal point."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    text = values.astype("object").where(values.notna(), None)
    return text.map(lambda value: None if value is None or value == "" else str(value))


def _plain(name: str) -> str:
    """A path in its shortest form; other names as they are."""
    return posixpath.normpath(name) if is_path(name) else name


def _drop_duplicates(db: duckdb.DuckDBPyConnection, reader: _Reader) -> None:
    """Keep the first of rows with the same path."""
    first = "(SELECT path, min(line) AS first FROM raw GROUP BY path HAVING count(*) > 1)"
    duplicates = db.execute(
        f"SELECT line, raw.path, first FROM raw JOIN {first} d ON raw.path = d.path AND line > first"
    )
    while row := duplicates.fetchone():
        reader.leave_out(f"{reader.table.name} row {row[0]}", f"lists {row[1]} again, after row {row[2]}")
    db.execute("CREATE VIEW rows AS SELECT * FROM raw WHERE line IN (SELECT min(line) FROM raw GROUP BY path)")


def _classes(db: duckdb.DuckDBPyConnection, masks: bool, table: Path) -> tuple[LandClass, ...]:
    """The labels of the table as classes, by number where they are numbers, else by name."""
    if masks:
        raise UserError(f"{table}: has masks, so it needs --legend with their values and colours")
    names = [row[0] for row in db.execute("SELECT DISTINCT label FROM rows WHERE label IS NOT NULL").fetchall()]
    numeric = all(name.lstrip("-").isdigit() for name in names)
    names.sort(key=int if numeric else str)
    return legend_of({int(name) if numeric else number: name for number, name in enumerate(names)})


def _number_labels(db: duckdb.DuckDBPyConnection, classes: tuple[LandClass, ...], table: Path, unsorted: Path) -> None:
    """Write the listing with class numbers; a label may be a class's name or its value."""
    names = numbers_of(classes)
    db.register("classes", pa.table({"label": list(names), "number": pa.array(names.values(), pa.int32())}))
    unknown = db.execute(
        "SELECT label, line FROM rows WHERE label IS NOT NULL AND label NOT IN (SELECT label FROM classes) LIMIT 1"
    ).fetchone()
    if unknown:
        raise UserError(f"{table}: row {unknown[1]} has the label {unknown[0]}, which is not in the legend")
    fields = ", ".join("coalesce(number, -1) AS label" if name == "label" else f"rows.{name}" for name in LISTING.names)
    db.execute(
        f"COPY (SELECT {fields} FROM rows LEFT JOIN classes ON rows.label = classes.label) TO {literal(unsorted)} (FORMAT parquet)"
    )
