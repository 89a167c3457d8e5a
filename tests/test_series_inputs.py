"""``export.predict --series``: which rasters a series is made of, their dates and masks, and what is said of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from export.batch.inputs import Raster
from export.batch.series import masked
from export.predict import main
from export.rasterio_io.dated import MaskFile
from export.runtime.model.session import Model
from export.runtime.raster.mask_band import MASKS
from tests.conftest import call
from tests.models import series_answer, series_item, write_series, write_strongest_band
from tests.test_series_grid import NORTH, write

DAYS = {"2024-01-10": 10, "2024-04-09": 100, "2024-07-18": 200}
SHAPE = (40, 50)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_series(tmp_path / "series.onnx", tile_size=64)


@pytest.fixture
def one_date(tmp_path: Path) -> Path:
    return write_strongest_band(tmp_path / "one.onnx")


def values_of(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, (3, *shape)).astype(np.uint8)


@pytest.fixture
def scenes(tmp_path: Path) -> list[Path]:
    (tmp_path / "scenes").mkdir()
    return [
        write(tmp_path / "scenes" / f"s_{day}.tif", values_of(seed), nodata=0) for seed, day in enumerate(DAYS, start=1)
    ]


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def expected(stack: np.ndarray, valid: np.ndarray | None = None, days: tuple = (10, 100, 200)) -> np.ndarray:
    """The probabilities that the model of a series gives for (dates, bands, rows, columns)."""
    valid = np.ones((len(stack), *stack.shape[2:]), bool) if valid is None else valid
    return series_answer(stack, valid, np.array(days, np.float32), None, False)


def mapped(tmp_path: Path, model: Path, *words: object, out: str = "out") -> np.ndarray:
    """The probabilities of the only map."""
    assert call(main, model, "--series", *words, "--probabilities", "--name", "map", "--out", tmp_path / out) == 0
    return read(tmp_path / out / "map_probabilities.tif")


def test_a_folder_of_dated_rasters_is_one_map(tmp_path, model, scenes, capsys):
    found = mapped(tmp_path, model, tmp_path / "scenes", "--date-count")
    np.testing.assert_allclose(found, expected(np.stack([read(path) for path in scenes])), atol=1e-4)
    assert (read(tmp_path / "out" / "map_dates.tif") == 3).all()
    item = json.loads((tmp_path / "out" / "map.stac.json").read_text())
    assert item["properties"]["start_datetime"] == "2024-01-10T00:00:00Z"
    assert item["properties"]["end_datetime"] == "2024-07-18T00:00:00Z"
    assert item["properties"]["geoaware:series"][1] == {"date": "2024-04-09", "raster": "s_2024-04-09.tif"}


def test_any_way_to_name_the_rasters_gives_the_same_map(tmp_path, model, scenes):
    whole = mapped(tmp_path, model, tmp_path / "scenes")
    (tmp_path / "list.txt").write_text("\n".join(f"scenes/{path.name}" for path in reversed(scenes)))
    items = [
        {
            "type": "Feature", "stac_version": "1.0.0", "id": f"item{number}", "geometry": None, "links": [],
            "properties": {"datetime": f"{day}T10:00:00Z"},
            "assets": {"data": {"href": f"./scenes/{path.name}", "type": "image/tiff"}},
        }
        for number, (day, path) in enumerate(zip(DAYS, scenes))
    ]  # fmt: skip
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    stack = write(tmp_path / "stack.tif", np.concatenate([read(path) for path in scenes]), nodata=0)
    (tmp_path / "stack.csv").write_text("date\n" + "\n".join(DAYS))
    ways = {
        "pattern": (tmp_path / "scenes" / "*.tif",),
        "paths": (*reversed(scenes),),
        "list": (tmp_path / "list.txt",),
        "items": (tmp_path / "items.json",),
        "stack": (stack, "--dates", *DAYS),
        "table": (stack, "--dates", tmp_path / "stack.csv"),
    }
    for name, words in ways.items():
        assert np.array_equal(mapped(tmp_path, model, *words, out=name), whole), name


def test_dates_come_from_a_table_a_format_metadata_and_files_beside(tmp_path, model, scenes):
    whole = mapped(tmp_path, model, tmp_path / "scenes")
    for way in ("table", "format", "tags", "beside"):
        folder = tmp_path / way
        folder.mkdir()
        for number, (day, path) in enumerate(zip(DAYS, scenes)):
            name = f"x{day[2:4]}{day[5:7]}{day[8:]}.tif" if way == "format" else f"x{number}.tif"
            shutil.copy(path, folder / name)
            if way == "tags":
                with rasterio.open(folder / name, "r+") as file:
                    file.update_tags(ACQUISITION_DATE=day)
            if way == "beside":
                (folder / f"x{number}.json").write_text(json.dumps({"properties": {"datetime": day}}))
        table = tmp_path / "dates.csv"
        table.write_text("file,date\n" + "\n".join(f"x{number}.tif,{day}" for number, day in enumerate(DAYS)))
        options = {"table": ("--dates", table), "format": ("--date-format", "x%y%m%d")}.get(way, ())
        assert np.array_equal(mapped(tmp_path, model, folder / "*.tif", *options, out=f"out_{way}"), whole), way


def refused(capsys, *arguments: object) -> str:
    assert call(main, *arguments) == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text


def test_dates_that_are_not_known_are_named_with_a_remedy(tmp_path, model, scenes, capsys):
    shutil.copy(scenes[0], tmp_path / "scenes" / "noname.tif")
    arguments = (model, "--series", tmp_path / "scenes", "--out", tmp_path / "out")
    text = refused(capsys, *arguments)
    assert "noname.tif: its name holds no date; give a table with --dates" in text
    assert "--skip-bad" in text
    (tmp_path / "dates.csv").write_text("file,date\ns_2024-01-10.tif,2024-01-10\n")
    assert "has no row for" in refused(capsys, *arguments, "--dates", tmp_path / "dates.csv")
    (tmp_path / "dates.csv").write_text("file,date\nnoname.tif,2024-01-10\nnoname.tif,2024-02-10\n")
    text = refused(capsys, *arguments, "--dates", tmp_path / "dates.csv")
    assert "noname.tif: the table of dates gives it more than one (2024-01-10, 2024-02-10): keep one row" in text
    assert "2 dates for 4 rasters" in refused(capsys, *arguments, "--dates", "2024-01-01", "2024-01-02")
    assert "--dates: '2024-13-01' is no date" in refused(capsys, *arguments, "--dates", "2024-13-01", "2024-01-02")
    assert "--date-format %Q" in refused(capsys, *arguments, "--date-format", "%Q")
    assert not list((tmp_path / "out").glob("*.tif"))


def test_a_date_that_cannot_be_read_is_left_out_only_when_asked(tmp_path, model, scenes, capsys):
    big = np.random.default_rng(9).integers(1, 255, (3, 400, 400)).astype(np.uint8)
    bad = write(tmp_path / "scenes" / "s_2024-09-01.tif", big, nodata=0)
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    arguments = (model, "--series", tmp_path / "scenes", "--name", "map", "--out", tmp_path / "out")
    assert "s_2024-09-01.tif" in refused(capsys, *arguments)
    assert call(main, *arguments, "--skip-bad", "--probabilities") == 1
    assert "left out: " in capsys.readouterr().err
    found = read(tmp_path / "out" / "map_probabilities.tif")
    np.testing.assert_allclose(found, expected(np.stack([read(path) for path in scenes])), atol=1e-4)


def test_a_raster_without_the_models_bands_is_left_out_only_when_asked(tmp_path, model, scenes, capsys):
    write(tmp_path / "scenes" / "s_2024-09-01.tif", values_of(4)[:2], nodata=0)
    arguments = (model, "--series", tmp_path / "scenes", "--name", "map", "--out", tmp_path / "out")
    text = refused(capsys, *arguments)
    assert "s_2024-09-01.tif: " in text
    assert "or leave out what is bad with --skip-bad" in text
    assert call(main, *arguments, "--skip-bad", "--probabilities") == 1
    assert "left out: " in (said := capsys.readouterr().err)
    assert "s_2024-09-01.tif" in said
    found = read(tmp_path / "out" / "map_probabilities.tif")
    np.testing.assert_allclose(found, expected(np.stack([read(path) for path in scenes])), atol=1e-4)


def test_a_block_that_cannot_be_read_ends_the_run_with_its_raster_and_place(tmp_path, model, scenes, capsys):
    big = np.random.default_rng(9).integers(1, 255, (3, 512, 512)).astype(np.uint8)
    folder = tmp_path / "large"
    folder.mkdir()
    for day in DAYS:
        write(folder / f"s_{day}.tif", big, nodata=0, tiled=True, blockxsize=128, blockysize=128, compress="deflate")
    bad = folder / "s_2024-04-09.tif"
    with rasterio.open(bad) as file:  # none of those that are probed before the run
        at, size = (int(file.get_tag_item(f"BLOCK_{what}_3_1", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    with bad.open("r+b") as file:
        file.seek(at)
        file.write(bytes(size))
    arguments = (model, "--series", folder, "--name", "map", "--out", tmp_path / "out", "--skip-bad")
    text = refused(capsys, *arguments)
    assert "s_2024-04-09.tif: corrupt or truncated file: pixels from row " in text
    assert "; copy it again, or leave it out" in text
    assert not [*(tmp_path / "out").glob("map*")]
    shutil.copy(folder / "s_2024-01-10.tif", bad)
    assert call(main, *arguments) == 0


def test_maps_of_an_earlier_run_among_the_scenes_are_no_dates(tmp_path, model, scenes, capsys):
    arguments = (model, "--series", f"{tmp_path}/scenes/*.tif", "--out", tmp_path / "scenes", "--date-count")
    assert call(main, *arguments) == 0
    before = read(tmp_path / "scenes" / "scenes.tif")
    capsys.readouterr()
    shutil.copy(tmp_path / "scenes" / "scenes.tif", tmp_path / "scenes" / "map_2024-02-02.tif")
    assert call(main, *arguments, "--probabilities") == 0
    said = capsys.readouterr().err
    for name in ("scenes", "scenes_dates", "map_2024-02-02"):
        assert f"{name}.tif: left out: " in said
    np.testing.assert_array_equal(read(tmp_path / "scenes" / "scenes.tif"), before)
    found = read(tmp_path / "scenes" / "scenes_probabilities.tif")
    np.testing.assert_allclose(found, expected(np.stack([read(path) for path in scenes])), atol=1e-4)
    text = refused(capsys, model, "--series", tmp_path / "scenes" / "map_2024-02-02.tif", "--out", tmp_path / "out")
    assert "no raster of the series can be used" in text


def clouds(path: Path, hidden: np.ndarray, transform: Affine = NORTH, value: int = 9) -> Path:
    return write(path, np.where(hidden, value, 4).astype(np.uint8)[None], transform)


def test_scene_classes_of_other_pixels_beside_a_raster_hide_its_clouds(tmp_path, model, scenes, capsys):
    rng = np.random.default_rng(3)
    hidden = rng.random((3, 20, 25)) < 0.4
    hidden[:, 5:8, 5:8] = True
    for path, one in zip(scenes, hidden):  # 20 m
        clouds(path.with_name(f"{path.stem}_SCL_20m.tif"), one, NORTH * Affine.scale(2))
    found = mapped(tmp_path, model, tmp_path / "scenes", "--mask-band", "scl", "--date-count")
    fine = ~np.kron(hidden, np.ones((2, 2), bool))
    answer = expected(np.stack([read(path) for path in scenes]), fine)
    seen = fine.any(axis=0)
    np.testing.assert_allclose(found[:, seen], answer[:, seen], atol=1e-4)
    assert np.isnan(found[:, ~seen]).all()
    assert np.array_equal(read(tmp_path / "out" / "map_dates.tif")[0], fine.sum(axis=0))
    assert (read(tmp_path / "out" / "map.tif")[0][~seen] == 255).all()


def test_a_mask_is_a_band_of_the_raster_or_an_asset_of_its_item(tmp_path, model, scenes):
    hidden = np.random.default_rng(4).random((3, *SHAPE)) < 0.3
    fine, stack = ~hidden, np.stack([read(path) for path in scenes])
    answer, seen = expected(stack, fine), fine.any(axis=0)
    for number, (day, one) in enumerate(zip(DAYS, hidden)):
        path = write(
            tmp_path / f"q_{day}.tif", np.concatenate([stack[number], np.where(one, 8, 64)[None]]).astype(np.uint16)
        )
        with rasterio.open(path, "r+") as file:
            file.descriptions = ("red", "green", "blue", "QA_PIXEL")
        clouds(tmp_path / f"m{number}.tif", one)
    items = [
        {
            "type": "Feature", "stac_version": "1.0.0", "id": day, "geometry": None, "links": [],
            "properties": {"datetime": f"{day}T10:00:00Z"},
            "assets": {
                "image": {"href": str(path), "type": "image/tiff"},
                "scl": {"href": f"m{number}.tif", "type": "image/tiff", "roles": ["data"]},
            },
        }
        for number, (day, path) in enumerate(zip(DAYS, scenes))
    ]  # fmt: skip
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    for name, words in {
        "preset": (tmp_path / "q_*.tif", "--mask-band", "qa_pixel"),
        "values": (tmp_path / "q_*.tif", "--mask-band", "QA_PIXEL", "--mask-values", "8"),
        "number": (tmp_path / "q_*.tif", "--mask-band", 4, "--mask-values", "bit3"),
        "asset": (tmp_path / "items.json", "--mask-band", "scl"),
    }.items():
        found = mapped(tmp_path, model, *words, out=name)
        np.testing.assert_allclose(found[:, seen], answer[:, seen], atol=1e-4, err_msg=name)
        assert np.isnan(found[:, ~seen]).all()


def test_a_mask_among_the_bands_of_a_raster_is_no_data_and_no_alpha_channel(tmp_path, model, scenes):
    hidden = np.random.default_rng(5).random((3, *SHAPE)) < 0.3
    stack, seen = np.stack([read(path) for path in scenes]), ~hidden.all(axis=0)
    for name, order, alpha in (("last", (0, 1, 2, 3), True), ("first", (3, 0, 1, 2), False)):
        (tmp_path / name).mkdir()
        for day, pixels, one in zip(DAYS, stack, hidden):
            path = write(tmp_path / name / f"q_{day}.tif", np.concatenate([pixels, one[None]])[list(order)])
            with rasterio.open(path, "r+") as file:
                file.colorinterp = [*[ColorInterp.gray] * 3, ColorInterp.alpha if alpha else ColorInterp.gray]
        number = order.index(3) + 1
        found = mapped(tmp_path, model, tmp_path / name, "--mask-band", number, "--mask-values", 1, out=f"out_{name}")
        np.testing.assert_allclose(found[:, seen], expected(stack, ~hidden)[:, seen], atol=1e-4, err_msg=name)
        assert np.isnan(found[:, ~seen]).all()


def test_masks_that_are_not_there_or_of_another_kind_are_refused(tmp_path, model, scenes, capsys):
    arguments = (model, "--series", tmp_path / "scenes", "--out", tmp_path / "out")
    assert "s_2024-01-10.tif: has no band SCL and no file" in refused(capsys, *arguments, "--mask-band", "scl")
    assert "'Fmask' says nothing of the values" in refused(capsys, *arguments, "--mask-band", "Fmask")
    for path in scenes:
        clouds(path.with_name(f"{path.stem}_SCL.tif"), np.ones(SHAPE, bool), value=77)
    assert "holds 77" in refused(capsys, *arguments, "--mask-band", "scl")
    one, *_ = scenes
    shutil.copy(one.with_name(f"{one.stem}_SCL.tif"), one.with_name(f"{one.stem}_SCL_20m.tif"))
    assert "several files beside it may be its mask" in refused(capsys, *arguments, "--mask-band", "scl")


def test_the_mask_of_one_date_is_not_taken_for_others(tmp_path, model, scenes, capsys):
    clouds(tmp_path / "scenes" / "s_SCL.tif", np.zeros(SHAPE, bool))
    text = refused(capsys, model, "--series", tmp_path / "scenes", "--out", tmp_path / "out", "--mask-band", "scl")
    assert "has no band SCL" in text


def test_a_mask_serves_a_single_raster_too(tmp_path, one_date):
    hidden = np.zeros(SHAPE, bool)
    hidden[3:9, 4:30] = True
    image = write(tmp_path / "image.tif", values_of(1), nodata=0)
    clouds(tmp_path / "image_SCL.tif", hidden)
    assert call(main, one_date, image, "--mask-band", "scl", "--out", tmp_path / "out") == 0
    assert call(main, one_date, image, "--out", tmp_path / "plain") == 0
    found, plain = read(tmp_path / "out" / "image.tif")[0], read(tmp_path / "plain" / "image.tif")[0]
    assert (found[hidden] == 255).all()
    assert np.array_equal(found[~hidden], plain[~hidden])


def test_two_rasters_of_one_day_are_tiles_or_are_refused(tmp_path, model, scenes, capsys):
    whole = mapped(tmp_path, model, tmp_path / "scenes")
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    for day, path in zip(DAYS, scenes):
        write(tiles / f"a_{day}.tif", read(path)[:, :, :30], nodata=0)
        write(tiles / f"b_{day}.tif", read(path)[:, :, 20:], NORTH * Affine.translation(20, 0), nodata=0)
    assert np.array_equal(mapped(tmp_path, model, tiles, out="tiled"), whole)
    halves = tmp_path / "halves"  # of one swath: the same extent, each with the gaps of the other
    halves.mkdir()
    for day, path in zip(DAYS, scenes):
        left, right = read(path), read(path)
        left[:, :, 25:], right[:, :, :25] = 0, 0
        write(halves / f"a_{day}.tif", left, nodata=0)
        write(halves / f"b_{day}.tif", right, nodata=0)
    assert np.array_equal(mapped(tmp_path, model, halves, out="halved"), whole)
    shutil.copy(scenes[0], tmp_path / "scenes" / "other_20240110.tif")
    text = refused(capsys, model, "--series", tmp_path / "scenes", "--out", tmp_path / "twice")
    assert "is of 2024-01-10, as is" in text
    assert "other_20240110.tif" in text
    assert "s_2024-01-10.tif" in text


def test_a_model_of_one_date_makes_a_map_of_each_or_of_their_mean(tmp_path, one_date, scenes, capsys):
    out = tmp_path / "out"
    assert call(main, one_date, "--series", tmp_path / "scenes", "--probabilities", "--out", out) == 0
    assert "one map is made of each; --combine mean makes one of all" in capsys.readouterr().err
    names = sorted(path.name for path in out.glob("*.tif") if "prob" not in path.name)
    assert names == [f"scenes_{day}.tif" for day in DAYS]
    assert call(main, one_date, scenes[1], "--out", tmp_path / "plain") == 0
    assert np.array_equal(read(out / "scenes_2024-04-09.tif"), read(tmp_path / "plain" / "s_2024-04-09.tif"))
    mean = np.mean([read(out / f"scenes_{day}_probabilities.tif") for day in DAYS], axis=0)
    words = (tmp_path / "scenes", "--combine", "mean", "--date-count")
    np.testing.assert_allclose(mapped(tmp_path, one_date, *words, out="mean"), mean, atol=1e-5)
    assert "--date-count: each map is of one date" in refused(
        capsys, one_date, "--series", tmp_path / "scenes", "--date-count", "--out", out
    )


def test_models_and_options_that_do_not_fit_are_said(tmp_path, model, one_date, scenes, capsys):
    out = ("--out", tmp_path / "out")
    assert "give its dates with --series" in refused(capsys, model, scenes[0], *out)
    text = refused(capsys, model, "--series", tmp_path / "scenes", "--combine", "mean", *out)
    assert "--combine: the model reads all dates itself" in text
    assert call(main, model, "--series", scenes[0], *out) == 0
    assert "all rasters are of 2024-01-10" in capsys.readouterr().err
    for option in (("--dates", "2024-01-01"), ("--skip-bad",), ("--combine", "mean"), ("--date-count",)):
        with pytest.raises(SystemExit):
            call(main, one_date, scenes[0], *option, *out)
        assert f"{option[0]} requires --series" in capsys.readouterr().err


def test_a_warning_of_a_stack_names_it_once(tmp_path, model, capsys):
    values = np.concatenate([values_of(seed) for seed in (1, 2, 3)])
    values[:, :10] = 0
    stack = write(tmp_path / "stack.tif", values, nodata=0)
    days = ("--dates", *DAYS, "--bands", 1, 2, 3)
    assert call(main, model, "--series", stack, *days, "--out", tmp_path / "out") == 0
    assert f"warning: {stack}: 25% of it hold no data at any date" in capsys.readouterr().err


def test_a_stack_that_does_not_divide_or_goes_band_by_band_is_refused(tmp_path, model, capsys):
    stack = write(tmp_path / "stack.tif", np.concatenate([values_of(1), values_of(2)]))
    arguments = (model, "--series", stack, "--out", tmp_path / "out", "--dates")
    assert "6 bands are no whole number for each of 4 dates" in refused(capsys, *arguments, *DAYS, "2024-09-01")
    assert "two of its dates are the same" in refused(capsys, *arguments, "2024-01-10", "2024-01-10")
    with rasterio.open(stack, "r+") as file:
        file.descriptions = ("red", "red", "green", "green", "blue", "blue")
    assert call(main, *arguments, "2024-01-10", "2024-04-09") == 2
    capsys.readouterr()
    with rasterio.open(stack, "r+") as file:
        file.descriptions = ("red",) * 3 + ("green",) * 3
    assert "band by band" in refused(capsys, *arguments, "2024-01-10", "2024-04-09")
    with rasterio.open(stack, "r+") as file:
        file.descriptions = ("red_1", "red_2", "red_3", "green_1", "green_2", "green_3")
    assert "band by band" in refused(capsys, *arguments, "2024-01-10", "2024-04-09")
    with rasterio.open(stack, "r+") as file:
        file.descriptions = [
            f"{band}_{day}" for day in ("2024-01-10", "2024-04-09") for band in ("red", "green", "blue")
        ]
    text = refused(capsys, *arguments, "2024-04-09", "2024-01-10")
    assert "by the names of its bands its dates are 2024-01-10, 2024-04-09" in text
    assert call(main, *arguments, "2024-01-15", "2024-04-15") == 0


def test_a_date_of_the_files_own_making_and_one_that_differs_are_said(tmp_path, model, scenes, capsys):
    with rasterio.open(scenes[0], "r+") as file:
        file.update_tags(ACQUISITION_DATE="2024-01-11")
    with rasterio.open(scenes[1], "r+") as file:
        file.update_tags(TIFFTAG_DATETIME="2024:04:10 00:00:00")
    scenes[1].rename(scenes[1].with_name("plain.tif"))
    mapped(tmp_path, model, tmp_path / "scenes")
    text = capsys.readouterr().err
    assert "its name says 2024-01-10, but ACQUISITION_DATE says 2024-01-11: the date of its name is taken" in text
    assert "plain.tif: dated 2024-04-10 by its TIFFTAG_DATETIME, which may be when the file was made" in text


def test_a_finished_series_is_skipped_and_done_again_when_a_date_changes(tmp_path, model, scenes, capsys):
    words = (model, "--series", tmp_path / "scenes", "--name", "map", "--out", tmp_path / "out")
    assert call(main, *words) == 0
    assert call(main, *words) == 0
    assert "1 already mapped" in capsys.readouterr().err
    scenes[2].rename(scenes[2].with_name("s_2024-08-18.tif"))
    assert call(main, *words) == 0
    assert "1 mapped" in capsys.readouterr().err


def test_blocks_and_workers_give_the_same_bits(tmp_path, model, capsys):
    (tmp_path / "wide").mkdir()
    for seed, day in enumerate(DAYS):
        values = values_of(seed, (300, 620))
        values[:, : 40 * seed] = 0
        write(tmp_path / "wide" / f"w_{day}.tif", values, nodata=0)
    words = (model, "--series", tmp_path / "wide", "--name", "map", "--confidence", "--date-count")
    assert call(main, *words, "--out", tmp_path / "one") == 0
    assert call(main, *words, "--out", tmp_path / "blocks", "--block", 256) == 0
    assert call(main, *words, "--out", tmp_path / "workers", "--block", 256, "--workers", 2, "--merge") == 0
    for end in ("", "_confidence", "_dates"):
        whole = read(tmp_path / "one" / f"map{end}.tif")
        assert np.array_equal(read(tmp_path / "blocks" / f"map{end}.vrt"), whole), end
        assert np.array_equal(read(tmp_path / "workers" / f"map{end}.tif"), whole), end


def test_two_zones_and_pixel_sizes_are_one_map(tmp_path, one_date):
    """Each raster shows the same place: constant colours, so that warping cannot change them."""
    (tmp_path / "zones").mkdir()
    color = np.array([200, 20, 20], np.uint8)[:, None, None]
    write(tmp_path / "zones" / "a_2024-01-10.tif", np.broadcast_to(color, (3, 60, 60)).copy(), NORTH, nodata=0)
    x, y = Transformer.from_crs("EPSG:32633", "EPSG:32634", always_xy=True).transform(500_000, 5_000_000)
    other = Affine(20, 0, x - 1000, 0, -20, y + 1000)  # of the next zone, over the same place and beyond
    with rasterio.open(
        tmp_path / "zones" / "b_2024-04-09.tif", "w", driver="GTiff", dtype="uint8", count=3, width=200, height=200,
        crs="EPSG:32634", transform=other, nodata=0,
    ) as file:  # fmt: skip
        file.write(np.broadcast_to(np.array([20, 20, 200], np.uint8)[:, None, None], (3, 200, 200)))
    write(
        tmp_path / "zones" / "c_2024-07-18.tif",
        np.broadcast_to(color, (3, 60, 60)).copy(),
        NORTH * Affine.scale(1),
        nodata=0,
    )
    words = (one_date, "--series", tmp_path / "zones", "--combine", "mean", "--date-count", "--name", "map")
    code = call(main, *words, "--out", tmp_path / "out")
    assert code == 0
    counts = read(tmp_path / "out" / "map_dates.tif")[0]
    with rasterio.open(tmp_path / "out" / "map.tif") as found:
        assert found.crs.to_epsg() == 32633
        assert found.res == (10, 10)
        assert found.bounds.left <= 500_000
        classes = found.read(1)
    assert {*np.unique(counts)} >= {1, 3}
    assert len(np.unique(classes[counts == 3])) == 1


def test_each_date_keeps_its_own_offset(tmp_path):
    """Baselines before and after 04.00: the same reflectance is stored with and without 1000."""
    item = series_item(tile_size=64)
    item["properties"] |= {"geoaware:unit": "reflectance x 10000", "geoaware:value_range": [0, 10000]}
    model = write_series(tmp_path / "s2.onnx", item=item)
    reflectance = np.random.default_rng(8).integers(200, 4000, (3, *SHAPE)).astype(np.uint16)
    (tmp_path / "s2").mkdir()
    names = {
        "S2A_MSIL2A_20211201T101031_N0301_R022_T33UUP_20211201T120000": 0,
        "S2A_MSIL2A_20220601T101031_N0400_R022_T33UUP_20220601T120000": 1000,
    }
    for name, offset in names.items():
        write(tmp_path / "s2" / f"{name}.tif", (reflectance + offset).astype(np.uint16), nodata=0)
    found = mapped(tmp_path, model, tmp_path / "s2", "--input", "s2-l2a")
    with_item = Model(model)
    answer = with_item.run_series(
        np.pad(np.stack([reflectance] * 2), ((0, 0), (0, 0), (0, 24), (0, 14))).astype(np.float32),
        np.pad(np.ones((2, *SHAPE), bool), ((0, 0), (0, 24), (0, 14))),
        np.array([335.0, 152.0]),
    )
    np.testing.assert_allclose(found, answer[:, : SHAPE[0], : SHAPE[1]], atol=1e-4)


def test_what_will_be_done_with_a_series_is_explained(tmp_path, model, scenes, capsys):
    first = read(scenes[0])
    first[:, :20] = 0
    write(scenes[0], first, nodata=0)
    assert call(main, model, "--series", tmp_path / "scenes", "--explain") == 0
    text = capsys.readouterr().out
    assert "2024-01-10" in text
    assert "50% of the grid without data" in text
    assert not (tmp_path / "out").exists()


def test_a_raster_with_its_bands_in_another_order_is_read_by_their_names(tmp_path, model, scenes):
    whole = mapped(tmp_path, model, tmp_path / "scenes")
    for path, names in zip(scenes, (("red", "green", "blue"), ("blue", "green", "red"), ("green", "blue", "red"))):
        pixels = dict(zip(("red", "green", "blue"), read(path)))
        write(path, np.stack([pixels[name] for name in names]), nodata=0)
        with rasterio.open(path, "r+") as file:
            file.descriptions = names
    assert np.array_equal(mapped(tmp_path, model, tmp_path / "scenes", out="other"), whole)


def test_items_with_a_file_for_each_band_are_dates(tmp_path, model, scenes, capsys):
    features = []
    hidden = np.zeros(SHAPE, bool)
    hidden[10:16] = True
    for day, path in zip(DAYS, scenes):
        assets = {}
        for key, band, values in zip(("B04", "B03", "B02"), ("red", "green", "blue"), read(path)):
            write(tmp_path / f"{day}_{key}.tif", values[None], nodata=0)
            assets[key] = {"href": f"./{day}_{key}.tif", "type": "image/tiff", "eo:bands": [{"common_name": band}]}
        clouds(tmp_path / f"{day}_mask.tif", hidden[::2, ::2], NORTH * Affine.scale(2))
        assets["scl"] = {"href": f"./{day}_mask.tif", "type": "image/tiff"}
        features.append({
            "type": "Feature", "stac_version": "1.0.0", "id": f"S2_{day}", "geometry": None, "links": [],
            "properties": {"datetime": f"{day}T10:00:00Z"}, "assets": assets,
        })  # fmt: skip
    items = tmp_path / "items.json"
    items.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    whole = mapped(tmp_path, model, tmp_path / "scenes", out="whole")
    found = mapped(tmp_path, model, items, "--mask-band", "scl")
    assert np.array_equal(found[:, ~hidden], whole[:, ~hidden])
    assert np.isnan(found[:, hidden]).all()
    record = json.loads((tmp_path / "out" / "map.stac.json").read_text())["properties"]["geoaware:series"]
    assert record[0] == {"date": "2024-01-10", "raster": "items.json: S2_2024-01-10"}
    text = (tmp_path / "out" / "map.stac.json").read_text()
    assert json.loads(text)["properties"]["geoaware:mask"] == "SCL: 0-1, 3, 8-10"
    (tmp_path / "2024-04-09_B03.tif").unlink()
    arguments = (model, "--series", items, "--out", tmp_path / "less")
    text = refused(capsys, *arguments)
    assert "items.json: S2_2024-04-09: " in text
    assert "2024-04-09_B03.tif: no such file" in text
    assert call(main, *arguments, "--skip-bad") == 1
    assert "left out: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("image", "mask", "preset"),
    [
        ("T33UUP_20240630T101031_B04_10m.tif", "T33UUP_20240630T101031_SCL_20m.tif", "scl"),
        ("LC08_L2SP_007068_20200101_20200823_02_T1_SR_B4.TIF", "LC08_L2SP_007068_20200101_20200823_02_T1_QA_PIXEL.TIF", "qa_pixel"),
        ("s2_20240630.tif", "SCL_s2_20240630.tif", "scl"),
        ("s2-2024-06-30.tif", "s2-2024-06-30-cloud-probability.tif", "s2cloudless"),
        ("rgb.tif", "rgb_scl.tif", "scl"),
    ],
)  # fmt: skip
def test_a_file_beside_a_raster_is_its_mask_by_its_name(tmp_path, image, mask, preset):
    path = write(tmp_path / image, values_of(1))
    write(tmp_path / mask, np.zeros((1, *SHAPE), np.uint8))
    write(
        tmp_path / mask.replace("2024", "2023").replace("20200101", "20190101").replace("rgb", "nir"), values_of(1)[:1]
    )
    (raster,) = masked([Raster("a", str(path)), Raster("b", str(tmp_path / mask))], MASKS[preset])
    assert raster.mask == MaskFile(MASKS[preset], str(tmp_path / mask))


def test_masks_that_lie_elsewhere_or_cannot_be_read_are_named(tmp_path, model, scenes, capsys):
    for path in scenes:
        clouds(path.with_name(f"{path.stem}_SCL.tif"), np.zeros(SHAPE, bool))
    arguments = (model, "--series", tmp_path / "scenes", "--mask-band", "scl", "--out", tmp_path / "out")
    moved = clouds(
        scenes[1].with_name(f"{scenes[1].stem}_SCL.tif"), np.zeros(SHAPE, bool), NORTH * Affine.translation(500, 0)
    )
    assert f"{moved.name}: lies apart from {scenes[1]}" in refused(capsys, *arguments)
    moved.write_bytes(moved.read_bytes()[:900])
    assert f"{moved.name}: corrupt or truncated" in refused(capsys, *arguments)
    assert call(main, *arguments, "--skip-bad") == 1
    assert f"{moved.name}: corrupt" in capsys.readouterr().err
