"""Acquisition dates: from names, metadata, files beside a raster, tables."""

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from export.runtime.errors import InputFault
from export.runtime.raster.dates import (
    date_beside,
    date_in_name,
    date_in_table,
    date_in_tags,
    date_of_item,
    day_of_year,
    iso_date,
    read_dates,
)


def utc(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2024-06-30", utc(2024, 6, 30)),
        ("20240630", utc(2024, 6, 30)),
        ("2024-06-30T10:31:01Z", utc(2024, 6, 30, 10, 31, 1)),
        ("2024-06-30T10:31:01.024Z", utc(2024, 6, 30, 10, 31, 1, 24_000)),
        ("2024-06-30T10:31:01.1234567+00:00", utc(2024, 6, 30, 10, 31, 1, 123_456)),
        ("2024-06-30 23:30-02:30", utc(2024, 7, 1, 2)),
        ("2024-07-01T00:30:00+01", utc(2024, 6, 30, 23, 30)),
    ],
)
def test_iso_dates_are_read_as_utc(text, date):
    assert iso_date(text) == date


@pytest.mark.parametrize("text", ["", "2024", "2024-06", "30.06.2024", "2024-13-01", "2023-02-29", "2024-06-30T25:00"])
def test_what_is_no_whole_date_is_refused(text):
    with pytest.raises(ValueError, match=r"2|date|hour|month|day"):
        iso_date(text)


def test_a_name_without_a_date_is_named():
    with pytest.raises(InputFault, match=r"a/tile_2010\.tif: its name holds no date; 2010 may be a year"):
        date_in_name("a/tile_2010.tif")
    with pytest.raises(InputFault, match="more than one date"):
        date_in_name("a_20200101_20200301.tif")
    assert date_in_name("months/200407.png", "%Y%m") == utc(2004, 7, 1)


@pytest.mark.parametrize(
    ("tags", "date", "how"),
    [
        ({"ACQUISITIONDATETIME": "2024-06-30 10:31:01"}, utc(2024, 6, 30, 10, 31, 1), "ACQUISITIONDATETIME"),
        ({"TIFFTAG_DATETIME": "2024:07:02 00:00:00", "DATE_ACQUIRED": "2024-06-30"}, utc(2024, 6, 30), "DATE_ACQUIRED"),
        ({"TIFFTAG_DATETIME": "2024:06:30 10:31:01"}, utc(2024, 6, 30, 10, 31, 1), "TIFFTAG_DATETIME"),
        ({"DATATAKE_1_DATATAKE_SENSING_START": "2024-06-30T10:31:01.024Z"}, utc(2024, 6, 30, 10, 31, 1, 24_000), ""),
        ({"NC_GLOBAL#time_coverage_start": "2024-06-30"}, utc(2024, 6, 30), ""),
        ({"system:time_start": "1719743461000"}, utc(2024, 6, 30, 10, 31, 1), "system:time_start"),
    ],
)
def test_metadata_state_a_date(tags, date, how):
    found = date_in_tags(tags)
    assert found.date == date
    assert not how or found.how == how


@pytest.mark.parametrize("value", ["0000:00:00 00:00:00", "soon", "", "0001-01-01"])
def test_metadata_that_state_no_date_are_passed_over(value):
    assert date_in_tags({"TIFFTAG_DATETIME": value, "ACQUISITION_DATE": value, "PROCESSING_DATE": "2024-07-01"}) is None


def test_an_item_of_a_period_has_the_date_of_its_middle():
    period = {"datetime": None, "start_datetime": "2024-06-01T00:00:00Z", "end_datetime": "2024-06-11T00:00:00Z"}
    assert date_of_item({"properties": period}) == utc(2024, 6, 6)
    assert date_of_item({"properties": {**period, "datetime": "2024-06-30T10:00:00Z"}}) == utc(2024, 6, 30, 10)
    assert date_of_item({"properties": {"datetime": None}}) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scene.stac.json", json.dumps({"properties": {"datetime": "2024-06-30T10:00:00Z"}})),
        ("scene.json", json.dumps({"properties": {"datetime": "2024-06-30"}})),
        ("scene.tif.json", json.dumps({"properties": {"datetime": "2024-06-30"}})),
        ("scene.xml", "<a><PROCESSED>2024-07-02</PROCESSED><n1:DATE_ACQUIRED>2024-06-30</n1:DATE_ACQUIRED></a>"),
        ("scene.xml", "<ps:acquisitionDateTime>2024-06-30T10:00:00+00:00</ps:acquisitionDateTime>"),
    ],
)
def test_a_file_beside_a_raster_states_its_date(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    found = date_beside(tmp_path / "scene.tif")
    assert (found.date.date(), found.how) == (utc(2024, 6, 30).date(), name)
    assert date_beside(tmp_path / "other.tif") is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"properties": []}', '{"properties": {"datetime": 7}}', "\x00" * 20])
def test_files_beside_a_raster_that_state_none_are_passed_over(tmp_path, text):
    for name in ("scene.json", "scene.xml"):
        (tmp_path / name).write_text(text)
    assert date_beside(tmp_path / "scene.tif") is None


def test_a_table_gives_files_and_dates_in_its_order(tmp_path):
    table = tmp_path / "dates.csv"
    table.write_text("\ufefffile,date\nb.tif,2024-06-30\na.tif,2024-01-01T10:00:00Z\n")
    assert read_dates(table) == [("b.tif", utc(2024, 6, 30)), ("a.tif", utc(2024, 1, 1, 10))]
    table.write_text("date\n2024-06-30\n")
    assert read_dates(table, named=False) == [("", utc(2024, 6, 30))]
    for text in ("file,date\n", "date\n2024-06-30\n", "file,date\na.tif,30.6.2024\n", "file,date\na.tif\n"):
        table.write_text(text)
        with pytest.raises(InputFault, match=r"dates\.csv: needs the columns file and date"):
            read_dates(table)
    with pytest.raises(InputFault, match=r"none\.csv: cannot be read \(No such file or directory\): name a CSV with"):
        read_dates(Path(tmp_path / "none.csv"))


def test_the_row_of_a_table_that_holds_most_of_a_path_gives_its_date(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, other = utc(2024, 6, 30), utc(2023, 6, 30)
    rows = [("s.tif", one), ("old/s.tif", other), ("s.tif", one), (str(tmp_path / "deep" / "s.tif"), other)]
    assert date_in_table("new/s.tif", rows) == one
    assert date_in_table("/data/old/s.tif", rows) == date_in_table(r"C:\data\old\s.tif", rows) == other
    assert date_in_table("s.tif", [("./s.tif", one)]) == one
    assert date_in_table("as.tif", rows) is None
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "s.tif").touch()
    assert date_in_table("deep/s.tif", rows) == other
    with pytest.raises(InputFault, match="more than one \\(2023-06-30, 2024-06-30\\): keep one row"):
        date_in_table("s.tif", [("s.tif", one), ("s.tif", other)])


def test_days_of_the_year_begin_with_one():
    assert [day_of_year(utc(2024, *day)) for day in ((1, 1), (3, 1), (12, 31))] == [1, 61, 366]
