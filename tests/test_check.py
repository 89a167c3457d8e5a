"""What ``core.prepare check`` says of sound stores and of stores damaged in every way."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import UserError
from core.store import check as check_module
from core.store.build import Chip, Tally, build
from core.store.check import check, run
from core.store.index import sha256
from core.store.read import UNLABELLED, LandClass, StoreInfo

SIZE = 8
LEGEND = (LandClass(1, "sea", "0000FF"), LandClass(2, "land", "00FF00"))
INFO = StoreInfo(("red", "green"), "uint16", "counts", 10.0, SIZE, LEGEND)


@dataclass(frozen=True)
class TwoShards:
    """Six places at two dates each, in two shards: with masks, boxes, and pixels without data."""

    info: StoreInfo = INFO
    bad: tuple[tuple[str, str], ...] = ()
    dropped: tuple = ()
    dates: tuple[datetime | None, ...] = (datetime(2021, 5, 1, tzinfo=UTC), datetime(2020, 5, 1, tzinfo=UTC))
    located: bool = True

    @property
    def tasks(self) -> range:
        return range(2)

    def chips(self, task: int, tally: Tally) -> Iterator[Chip]:
        rng = np.random.default_rng(task)
        for place in range(3 * task, 3 * task + 3):
            mask = rng.choice(np.array([0, 1, UNLABELLED], np.uint8), (SIZE, SIZE))
            for date in self.dates:
                yield Chip(
                    pixels=rng.integers(1, 1000, (2, SIZE, SIZE), np.uint16),
                    valid=rng.random((SIZE, SIZE)) < 0.9,
                    place=f"p{place}",
                    lon=10.0 + place if self.located else np.nan,
                    lat=50.0 if self.located else np.nan,
                    datetime=date,
                    source="scene.tif",
                    label=place % 2,
                    split=("train", "train", "test")[place % 3],
                    mask=mask,
                    boxes=np.array([[1, 1, 4, 5, 0]]),
                )


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("check") / "store"
    build(TwoShards(), out, workers=1)
    return out


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "store"))


def renew_checksum(store: Path, name: str) -> None:
    """So that what a test did to the file is the only thing wrong."""
    lines = (store / "SHA256SUMS").read_text().splitlines()
    kept = [line for line in lines if not line.endswith(f"  {name}")]
    (store / "SHA256SUMS").write_text("\n".join([*kept, f"{sha256(store / name)}  {name}"]) + "\n")


def edit_table(store: Path, name: str, change: Callable[[dict[str, list]], Any]) -> None:
    """Change columns of a Parquet file, given as lists."""
    table = pq.read_table(store / name)
    columns = table.to_pydict()
    change(columns)
    pq.write_table(pa.table(columns, schema=table.schema), store / name)
    renew_checksum(store, name)


def edit_info(store: Path, **fields: object) -> None:
    """Change fields of store.json."""
    content = json.loads((store / "store.json").read_text()) | fields
    (store / "store.json").write_text(json.dumps(content))
    renew_checksum(store, "store.json")


def edit_array(store: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    np.save(store / name, change(np.load(store / name)))
    renew_checksum(store, name)


def put(column: str, row: int, value: object) -> Callable[[dict[str, list]], None]:
    return lambda columns: columns[column].__setitem__(row, value)


def place_at(row: int, lon: float, lat: float) -> Callable[[dict[str, list]], None]:
    """Move an image everywhere: lon, lat, geometry and bbox."""

    def move(columns: dict[str, list]) -> None:
        columns["lon"][row], columns["lat"][row] = lon, lat
        columns["bbox"][row] = {"xmin": lon, "ymin": lat, "xmax": lon, "ymax": lat}
        columns["geometry"][row] = np.array([(1, 1, lon, lat)], check_module._POINT).tobytes()

    return move


def test_a_sound_store_has_no_problems_and_is_summed_up(sound, capsys):
    assert check(sound) == []
    run(argparse.Namespace(store=sound))
    assert capsys.readouterr().out == "12 images, 6 places, 2 shards: sound\n"


def test_unknown_dates_and_coordinates_are_information(tmp_path, capsys):
    build(TwoShards(dates=(None, datetime(2020, 1, 1, tzinfo=UTC)), located=False), tmp_path / "store", workers=1)
    run(argparse.Namespace(store=tmp_path / "store"))
    assert capsys.readouterr().out.splitlines() == [
        "without a date: 6 of 12 images",
        "without coordinates: 12 of 12 images",
        "12 images, 6 places, 2 shards: sound",
    ]


def test_problems_are_printed_one_a_line_and_the_command_fails(store, capsys):
    (store / "shards" / "00001" / "chips.npy").unlink()
    (store / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"store: 2 problems, listed above"):
        run(argparse.Namespace(store=store))
    assert capsys.readouterr().out.splitlines() == [
        "shards/00001/chips.npy: is missing",
        "notes.txt: does not belong to the store: SHA256SUMS does not list it",
    ]


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(UserError, match="no chip store there"):
        check(tmp_path)


def test_a_flipped_byte_names_its_shard(store):
    path = store / "shards" / "00001" / "chips.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert check(store) == ["shards/00001/chips.npy: is damaged: its checksum is not that of SHA256SUMS"]


@pytest.mark.parametrize("length", [0, 40, 700])
def test_a_truncated_shard_is_named(store, length):
    path = store / "shards" / "00000" / "chips.npy"
    path.write_bytes(path.read_bytes()[:length])
    checksum, damaged = check(store)
    assert checksum == "shards/00000/chips.npy: is damaged: its checksum is not that of SHA256SUMS"
    assert damaged.startswith("shards/00000/chips.npy: is damaged (")


def test_damaged_masks_are_named_and_the_rest_of_their_shard_is_checked(store):
    path = store / "shards" / "00000" / "labels.npy"
    path.write_bytes(path.read_bytes()[:-1])
    edit_table(store, "index.parquet", put("chip", 2, 99))
    checksum, damaged, chip = check(store)
    assert checksum == "shards/00000/labels.npy: is damaged: its checksum is not that of SHA256SUMS"
    assert damaged.startswith("shards/00000/labels.npy: is damaged (")
    assert chip == "shards/00000: the index names its chip 99, but it holds 6"


def test_a_deleted_shard_is_named(store):
    shutil.rmtree(store / "shards" / "00001")
    problems = check(store)
    assert problems == [f"shards/00001/{name}.npy: is missing" for name in ("chips", "labels", "valid")]


def test_a_missing_list_of_checksums_is_named(store):
    (store / "SHA256SUMS").unlink()
    assert check(store) == ["SHA256SUMS: is missing, so nothing shows whether the other files are whole"]


def test_files_that_the_list_of_checksums_has_lost_are_named(store):
    (store / "SHA256SUMS").write_text("")
    named = [f"shards/0000{shard}/{name}.npy" for shard in (0, 1) for name in ("chips", "labels", "valid")]
    assert check(store) == [
        f"{name}: does not belong to the store: SHA256SUMS does not list it"
        for name in ("boxes.parquet", "index.parquet", *named, "store.json")
    ]


def test_checksums_never_lead_out_of_the_store(store):
    with (store / "SHA256SUMS").open("a") as file:
        file.write("0  ../secret\nnonsense\n")
    assert check(store) == [
        "SHA256SUMS: line 10 is no checksum of a file of the store",
        "SHA256SUMS: line 11 is no checksum of a file of the store",
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (put("split", 0, "test"), "place p0 is on two sides of the split: test and train"),
        (put("split", 0, "dev"), "split 'dev' of 1 rows is none of train, val, test, margin"),
        (place_at(3, 10.0, 95.0), "row 3 (place p1) has lat 95, not within -90 and 90"),
        (place_at(3, -181.0, 9.0), "row 3 (place p1) has lon -181, not within -180 and 180"),
        (put("lon", 4, 11.5), "row 4 (place p2) has a geometry or a bbox that is not its lon and lat"),
        (put("geometry", 4, None), "row 4 (place p2) has a geometry or a bbox that is not its lon and lat"),
        (put("lat", 4, float("nan")), "row 4 (place p2) has only one of lon and lat"),
        (put("label", 5, 2), "row 5 (place p2) has the label 2, but the legend has 2 classes"),
        (put("label", 5, -2), "row 5 (place p2) has the label -2, but the legend has 2 classes"),
        (put("datetime", 1, datetime(2201, 1, 1, tzinfo=UTC)), "row 1 (place p0) has the date 2201-01-01T00:00:00, in the future"),
        (put("datetime", 0, datetime(1812, 1, 1, tzinfo=UTC)), "row 0 (place p0) has the date 1812-01-01T00:00:00, before any photograph"),
        (put("datetime", 0, datetime(2022, 1, 1, tzinfo=UTC)), "row 1 (place p0) does not lie by date among the images of its place"),
        (put("datetime", 0, None), "row 1 (place p0) does not lie by date among the images of its place"),
        (put("place_number", 1, 7), "place p0 has two numbers: 0 and 7"),
        (put("place", 1, "p9"), "two places have the number 0: p0 and p9"),
        (put("place", 11, "p0"), "place p0 has images in rows that do not lie together"),
        (put("place", 1, None), "column 'place' is empty in 1 rows"),
    ],
)  # fmt: skip
def test_a_wrong_row_of_the_index_is_named(store, change, problem):
    edit_table(store, "index.parquet", change)
    assert f"index.parquet: {problem}" in check(store)


def test_a_row_that_is_there_twice_is_named(store):
    def double(columns: dict[str, list]) -> None:
        for values in columns.values():
            values.insert(1, values[0])

    edit_table(store, "index.parquet", double)
    assert check(store) == [
        "shards/00000: the index names 1 of its chips more than once: chip 1 in the rows 0 and 1",
    ]


def test_a_row_that_is_gone_is_missed_in_its_shard(store):
    edit_table(store, "index.parquet", lambda columns: [values.pop() for values in columns.values()])
    assert "shards/00001: holds 6 chips, the index names 5 of them" in check(store)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (put("chip", 2, 99), "shards/00000: the index names its chip 99, but it holds 6"),
        (put("chip", 2, 5), "shards/00000: the index names 1 of its chips more than once: chip 5 in the rows 2 and 4"),
        (put("mask", 2, 3), "shards/00000/labels.npy: the index names its mask 3, but it holds 3"),
        (put("mask", 2, -5), "shards/00000/labels.npy: the index names its mask -5, but it holds 3"),
        (put("shard", 2, 8), "shards/00008/chips.npy: is missing, but the index has 1 images there"),
    ],
)
def test_index_and_shards_must_fit(store, change, problem):
    edit_table(store, "index.parquet", change)
    assert problem in check(store)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (put("image", 0, 12), "row 0 is of an image that is no row of the index (0 to 11)"),
        (put("xmax", 3, 9.0), "row 3 does not lie inside a chip of 8 px"),
        (put("xmin", 3, 4.0), "row 3 does not lie inside a chip of 8 px"),
        (put("ymin", 3, float("nan")), "row 3 does not lie inside a chip of 8 px"),
        (put("label", 11, 2), "row 11 has no class of the legend (0 to 1)"),
    ],
)
def test_a_wrong_box_is_named(store, change, problem):
    edit_table(store, "boxes.parquet", change)
    assert check(store) == [f"boxes.parquet: {problem}"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"bands": ["red", 2]}, "bands ('red', 2) are no names"),
        ({"dtype": "float16"}, "dtype float16 is none of uint8, uint16, int16, float32"),
        ({"chip_size": 0}, "chip_size 0 is no number of pixels"),
        ({"gsd": -3}, "gsd -3 is no pixel size"),
        ({"mean": [1.0]}, "mean (1.0,) is not one finite number for each of 2 bands"),
        ({"std": [1.0, float("nan")]}, "std (1.0, nan) is not one finite number, at least 0, a band"),
        ({"value_range": [5, 1]}, "value_range (5, 1) is not a lowest and a highest value"),
        ({"background": 2}, "background 2 is none of the 2 classes"),
        ({"format": 3}, "is of format 3, this version checks format 2"),
    ],
)
def test_a_wrong_field_of_store_json_is_named(store, fields, problem):
    edit_info(store, **fields)
    assert check(store) == [f"store.json: {problem}"]


def test_the_legend_must_have_names_colours_and_different_values(store):
    one, two = {"value": 1, "name": "", "color": "0000FF"}, {"value": 1, "name": "land", "color": "green!"}
    edit_info(store, classes=[one, two])
    assert check(store) == [
        "store.json: two classes have the same value",
        "store.json: class 1 ('', '0000FF') lacks a name or a colour as RRGGBB",
        "store.json: class 1 ('land', 'green!') lacks a name or a colour as RRGGBB",
    ]


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2, "bands": 5}'])
def test_a_store_json_that_cannot_be_read_is_named(store, content):
    (store / "store.json").write_text(content)
    renew_checksum(store, "store.json")
    [problem] = check(store)
    assert problem.startswith("store.json: is damaged (")


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("chips", lambda a: a[:, :1], "holds uint16 (6, 1, 8, 8), not uint16 images x 2 x 8 x 8 as store.json says"),
        ("chips", lambda a: a.astype("u1"), "holds uint8 (6, 2, 8, 8), not uint16 images x 2 x 8 x 8 as store.json says"),
        ("chips", lambda a: np.append(a, a[:1], 0), "holds 6 chips, chips.npy holds 7"),
        ("valid", lambda a: a[:5], "holds 5 chips, chips.npy holds 6"),
        ("valid", lambda a: a.astype("u1"), "holds uint8 (6, 8, 8), not bool images x 8 x 8 as store.json says"),
        ("valid", lambda a: (a * np.uint8(2)).view(bool), "holds other values than true and false"),
        ("labels", lambda a: np.where(a == 1, np.uint8(7), a), "holds the class number 7, but the legend has 2 classes"),
        ("labels", lambda a: np.append(a, a[:1], 0), "holds 4 masks, the index names 3 of them"),
    ],
)  # fmt: skip
def test_a_wrong_array_is_named(store, name, change, problem):
    file = f"shards/00001/{name}.npy"
    edit_array(store, file, change)
    named = file.replace("chips", "valid") if problem.endswith("holds 7") else file
    assert f"{named}: {problem}" in check(store)


def test_a_shard_that_the_index_does_not_know_is_named(store):
    shutil.copytree(store / "shards" / "00001", store / "shards" / "00005")
    for name in ("chips", "labels", "valid"):
        renew_checksum(store, f"shards/00005/{name}.npy")
    assert check(store) == ["shards/00005: the index names none of its chips"]


def test_an_index_that_cannot_be_read_is_named(store):
    content = bytearray((store / "index.parquet").read_bytes())
    content[8:200] = bytes(192)
    (store / "index.parquet").write_bytes(content)
    checksum, damaged = check(store)
    assert checksum == "index.parquet: is damaged: its checksum is not that of SHA256SUMS"
    assert damaged.startswith("index.parquet: is damaged (")
    (store / "index.parquet").write_bytes(content[:100])
    assert check(store)[1].startswith("index.parquet: is damaged (")


@pytest.mark.parametrize("column", ["source", "geometry", "label"])
def test_a_missing_column_is_named(store, column):
    table = pq.read_table(store / "index.parquet").drop_columns([column])
    pq.write_table(table, store / "index.parquet")
    renew_checksum(store, "index.parquet")
    assert check(store)[0] == f"index.parquet: has no column '{column}'"


def test_a_column_of_another_type_is_named(store):
    table = pq.read_table(store / "index.parquet")
    column = table.schema.get_field_index("lon")
    table = table.set_column(column, "lon", table["lon"].cast(pa.string()))
    pq.write_table(table, store / "index.parquet")
    renew_checksum(store, "index.parquet")
    assert check(store)[0] == "index.parquet: column 'lon' is of type string"


def test_an_index_without_its_geoparquet_metadata_is_named(store):
    table = pq.read_table(store / "index.parquet").replace_schema_metadata(None)
    pq.write_table(table, store / "index.parquet")
    renew_checksum(store, "index.parquet")
    assert check(store) == ["index.parquet: has no GeoParquet metadata"]


def test_arrays_are_read_in_parts(store, monkeypatch):
    monkeypatch.setattr(check_module, "_READ_BYTES", SIZE * SIZE * 2)
    assert check(store) == []
    edit_array(store, "shards/00001/labels.npy", lambda masks: np.concatenate([masks[:2], masks[2:] | 4]))
    assert check(store)[0].startswith("shards/00001/labels.npy: holds the class number")


def test_the_name_of_the_folder_may_hold_anything(sound, tmp_path):
    other = tmp_path / "a[1] b's *"
    shutil.copytree(sound, other)
    assert check(other) == []
