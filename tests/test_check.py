"""What ``core.prepare check`` reports for intact and for damaged stores."""

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
from core.files import sha256
from core.store.build import Chip, Tally, build
from core.store.check import check, run
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


def test_a_sound_store_has_no_problems_and_is_summed_up(sound, capsys):
    assert check(sound) == []
    run(argparse.Namespace(store=sound))
    assert capsys.readouterr().out == "12 images, 6 places, 2 shards: no problems\n"


def test_unknown_dates_and_coordinates_are_information(tmp_path, capsys):
    build(TwoShards(dates=(None, datetime(2020, 1, 1, tzinfo=UTC)), located=False), tmp_path / "store", workers=1)
    run(argparse.Namespace(store=tmp_path / "store"))
    assert capsys.readouterr().out.splitlines() == [
        "without a date: 6 of 12 images",
        "without coordinates: 12 of 12 images",
        "12 images, 6 places, 2 shards: no problems",
    ]


def test_problems_are_printed_one_a_line_and_the_command_fails(store, capsys):
    (store / "shards" / "00001" / "chips.npy").unlink()
    (store / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"store: 2 problems, listed above"):
        run(argparse.Namespace(store=store))
    assert capsys.readouterr().out.splitlines() == [
        "shards/00001/chips.npy: is missing",
        "notes.txt: is not listed in SHA256SUMS",
    ]


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no chip store"):
        check(tmp_path)


@pytest.mark.parametrize("name", ["shards/00001/chips.npy", "shards/00000/labels.npy", "boxes.parquet"])
def test_a_flipped_byte_names_its_file(store, name):
    content = bytearray((store / name).read_bytes())
    content[-5] ^= 1
    (store / name).write_bytes(content)
    assert check(store) == [f"{name}: corrupt or truncated file (its checksum differs from SHA256SUMS)"]


@pytest.mark.parametrize("length", [0, 40, 700])
def test_a_truncated_shard_is_named(store, length):
    path = store / "shards" / "00000" / "chips.npy"
    path.write_bytes(path.read_bytes()[:length])
    checksum, damaged = check(store)
    assert checksum == "shards/00000/chips.npy: corrupt or truncated file (its checksum differs from SHA256SUMS)"
    assert damaged.startswith("shards/00000/chips.npy: cannot be read (")


def test_a_deleted_shard_is_named(store):
    shutil.rmtree(store / "shards" / "00001")
    problems = check(store)
    assert problems == [f"shards/00001/{name}.npy: is missing" for name in ("chips", "labels", "valid")]


def test_a_missing_list_of_checksums_is_named(store):
    (store / "SHA256SUMS").unlink()
    assert check(store) == ["SHA256SUMS: is missing, so the other files cannot be verified"]


def test_files_that_the_list_of_checksums_has_lost_are_named(store):
    (store / "SHA256SUMS").write_text("")
    named = [f"shards/0000{shard}/{name}.npy" for shard in (0, 1) for name in ("chips", "labels", "valid")]
    assert check(store) == [
        f"{name}: is not listed in SHA256SUMS" for name in ("boxes.parquet", "index.parquet", *named, "store.json")
    ]


def test_checksums_never_lead_out_of_the_store(store):
    with (store / "SHA256SUMS").open("a") as file:
        file.write("0  ../secret\nnonsense\n")
    assert check(store) == [
        "SHA256SUMS: line 10 is not the checksum of a file of the store",
        "SHA256SUMS: line 11 is not the checksum of a file of the store",
    ]


def test_a_place_on_two_sides_of_the_split_is_named(store):
    edit_table(store, "index.parquet", put("split", 0, "test"))
    assert check(store) == ["index.parquet: place p0 is on two sides of the split: test and train"]


def test_an_index_that_differs_from_its_shards_is_named(store):
    edit_table(store, "index.parquet", put("chip", 2, 5))
    assert check(store) == ["shards/00000: the index does not name each of its 6 chips once"]


def test_a_row_that_is_gone_is_missed_in_its_shard(store):
    edit_table(store, "index.parquet", lambda columns: [values.pop() for values in columns.values()])
    problem = "holds uint16 (6, 2, 8, 8), not uint16 (5, 2, 8, 8) as store.json and the index say"
    assert f"shards/00001/chips.npy: {problem}" in check(store)


def test_a_shard_that_the_index_names_must_be_there(store):
    edit_table(store, "index.parquet", put("shard", 2, 8))
    assert "shards/00008/chips.npy: is missing" in check(store)


def test_a_shard_that_the_index_does_not_know_is_named(store):
    shutil.copytree(store / "shards" / "00001", store / "shards" / "00005")
    for name in ("chips", "labels", "valid"):
        renew_checksum(store, f"shards/00005/{name}.npy")
    assert check(store) == ["shards/00005: is not in the index"]


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("chips", lambda a: a[:, :1], "holds uint16 (6, 1, 8, 8), not uint16 (6, 2, 8, 8)"),
        ("chips", lambda a: a.astype("u1"), "holds uint8 (6, 2, 8, 8), not uint16 (6, 2, 8, 8)"),
        ("chips", lambda a: np.append(a, a[:1], 0), "holds uint16 (7, 2, 8, 8), not uint16 (6, 2, 8, 8)"),
        ("valid", lambda a: a[:5], "holds bool (5, 8, 8), not bool (6, 8, 8)"),
        ("labels", lambda a: np.append(a, a[:1], 0), "holds uint8 (4, 8, 8), not uint8 (3, 8, 8)"),
    ],
)
def test_a_wrong_array_is_named(store, name, change, problem):
    file = f"shards/00001/{name}.npy"
    edit_array(store, file, change)
    assert check(store) == [f"{file}: {problem} as store.json and the index say"]


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2, "bands": 5}'])
def test_a_store_json_that_cannot_be_read_is_named(store, content):
    (store / "store.json").write_text(content)
    renew_checksum(store, "store.json")
    [problem] = check(store)
    assert "damaged chip store (" in problem


def test_a_store_of_another_format_is_named(store):
    edit_info(store, format=3)
    [problem] = check(store)
    assert "is a chip store of format 3, this version reads 2" in problem


def test_an_index_that_cannot_be_read_is_named(store):
    (store / "index.parquet").write_bytes((store / "index.parquet").read_bytes()[:100])
    checksum, damaged = check(store)
    assert checksum == "index.parquet: corrupt or truncated file (its checksum differs from SHA256SUMS)"
    assert "damaged chip store (" in damaged


def test_the_name_of_the_folder_may_hold_anything(sound, tmp_path):
    other = tmp_path / "a[1] b's *"
    shutil.copytree(sound, other)
    assert check(other) == []
