"""Layers of several dates as one input: their dates, the run, and what is read from its result."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import gdal
from qgis.core import (
    Qgis,
    QgsDateTimeRange,
    QgsPointXY,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProject,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QDateTime

from tests.models import series_answer, write_series, write_strongest_band
from tests.qgis import rasters
from tests.qgis.conftest import BLUE, GREEN, NODATA, RED, ROOT
from tests.qgis.test_segment import Feedback, map_tip_at, run

PYTHON = os.environ.get("GEOAWARE_TEST_PYTHON") or str(ROOT / ".venv" / "bin" / "python")
DAYS = (date(2024, 1, 20), date(2024, 5, 6), date(2024, 9, 30))
CLASSES = np.array([RED, GREEN, BLUE])


def dated(folder: Path, shape: tuple[int, int] = (70, 90)) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Three rasters with gaps of their own, named after ``DAYS``: files, pixels (T, 3, rows, columns), and valid."""
    pixels = np.random.default_rng(5).integers(1, 60, (3, 3, *shape)).astype(np.uint8)
    valid = np.ones((3, *shape), bool)
    valid[0, :, :30] = valid[1, 20:40] = valid[2, :50, :20] = False
    valid[:, 60:, 80:] = False
    pixels[~valid[:, None].repeat(3, 1)] = 0
    files = [rasters.write(folder / f"scene_{day:%Y%m%d}.tif", values, nodata=0) for day, values in zip(DAYS, pixels)]
    return files, pixels, valid


def days_of_year() -> list[int]:
    return [day.timetuple().tm_yday for day in DAYS]


def timed(path: Path, begin: str, end: str) -> QgsRasterLayer:
    """A layer with a fixed range in its temporal properties."""
    layer = QgsRasterLayer(str(path), "layer")
    properties = layer.temporalProperties()
    properties.setIsActive(True)
    properties.setMode(Qgis.RasterTemporalMode.FixedTemporalRange)
    moments = [QDateTime.fromString(f"{day}T00:00:00", "yyyy-MM-ddTHH:mm:ss") for day in (begin, end)]
    properties.setFixedTemporalRange(QgsDateTimeRange(*moments))
    return layer


def test_date_comes_from_temporal_properties_then_name_then_metadata(running, tmp_path):
    from geoaware.gdal_io.dates import layer_date

    pixels = np.ones((1, 4, 4), np.uint8)
    named = rasters.write(tmp_path / "S2_20240506.tif", pixels, names=("a",))
    plain = rasters.write(tmp_path / "plain.tif", pixels, names=("a",))
    assert layer_date(timed(named, "2023-02-01", "2023-02-28")).day == date(2023, 2, 1)
    found = layer_date(QgsRasterLayer(str(named), "layer"))
    assert (found.day, found.how) == (date(2024, 5, 6), "name")
    assert layer_date(QgsRasterLayer(str(plain), "May 2024-05-07")).day == date(2024, 5, 7)
    unknown = layer_date(QgsRasterLayer(str(plain), "layer"))
    assert unknown.day is None
    assert "plain.tif" in unknown.problem
    dataset = gdal.Open(str(plain), gdal.GA_Update)
    dataset.SetMetadataItem("ACQUISITION_DATE", "2022-12-31")
    dataset = None
    assert layer_date(QgsRasterLayer(str(plain), "layer")).day == date(2022, 12, 31)
    assert layer_date(QgsRasterLayer(str(plain), "layer")).how == "ACQUISITION_DATE"
    made = rasters.write(tmp_path / "made.tif", pixels, names=("a",))
    dataset = gdal.Open(str(made), gdal.GA_Update)
    dataset.SetMetadataItem("TIFFTAG_DATETIME", "2021:03:04 05:06:07")
    dataset = None
    found = layer_date(QgsRasterLayer(str(made), "layer"))
    assert found.day == date(2021, 3, 4)
    assert found.note == "layer: dated 2021-03-04 by its TIFFTAG_DATETIME, which may be when the file was made"
    (tmp_path / "made.json").write_text('{"properties": {"datetime": "2020-02-03T00:00:00Z"}}')
    assert (layer_date(QgsRasterLayer(str(made), "layer")).day, found.how) == (date(2020, 2, 3), "TIFFTAG_DATETIME")


def test_series_of_layers_is_mapped_as_the_model_answers(running, tmp_path):
    files, pixels, valid = dated(tmp_path)
    model = write_series(tmp_path / "series.onnx")
    out, count = tmp_path / "map.tif", tmp_path / "count.tif"
    # in any order, and the first layer named twice
    others = [str(files[0]), str(files[2]), str(files[1])]
    run(str(files[1]), model, out, SERIES=others, DATE_COUNT=str(count))
    wanted = CLASSES[series_answer(pixels, valid, days_of_year()).argmax(axis=0)]
    wanted[~valid.any(axis=0)] = NODATA
    np.testing.assert_array_equal(rasters.band(out), wanted)
    np.testing.assert_array_equal(rasters.band(count), valid.sum(axis=0))
    # with dates that say otherwise
    other = ["2024-12-31", "2024-12-01", "2024-11-01"]
    run(str(files[0]), model, out, SERIES=[str(files[1]), str(files[2])], DATES="; ".join(other))
    days = [datetime.fromisoformat(day).timetuple().tm_yday for day in other]
    wanted = CLASSES[series_answer(pixels, valid, days).argmax(axis=0)]
    wanted[~valid.any(axis=0)] = NODATA
    np.testing.assert_array_equal(rasters.band(out), wanted)
    assert not (tmp_path / "map_dates.tif").exists()


def test_model_of_one_date_is_averaged_over_the_dates(running, model, tmp_path):
    files, _, valid = dated(tmp_path)
    feedback, out, shares = Feedback(), tmp_path / "map.tif", tmp_path / "shares.tif"
    run(str(files[0]), model, out, feedback, SERIES=[str(one) for one in files[1:]], PROBABILITIES=str(shares))
    assert (
        "The model reads one date: it is run on each of the 3 dates, and the probabilities are averaged."
        in feedback.warnings
    )
    each = np.zeros((3, 3, 70, 90))
    for number, path in enumerate(files):
        one = tmp_path / "one.tif"
        run(str(path), model, tmp_path / "single.tif", PROBABILITIES=str(one))
        each[number] = [rasters.band(one, band) for band in (1, 2, 3)]
    mean = np.where(valid[:, None], each, 0).sum(axis=0) / np.maximum(valid.sum(axis=0), 1)
    found = np.stack([rasters.band(shares, band) for band in (1, 2, 3)])
    there = valid.any(axis=0)
    np.testing.assert_allclose(found[:, there], mean[:, there], atol=1e-6)
    assert np.isnan(found[:, ~there]).all()


def test_pixels_that_a_mask_band_hides_are_no_data_of_that_date(running, tmp_path):
    files, pixels, valid = dated(tmp_path)
    clouds = np.random.default_rng(1).choice([4, 5, 8, 9, 10, 3], (3, 70, 90)).astype(np.uint8)
    masked = []
    for path, values, scl in zip(files, pixels, clouds):
        bands = np.concatenate([values, scl[None]])
        masked.append(
            rasters.write(tmp_path / f"m_{path.name}", bands, nodata=0, names=("red", "green", "blue", "SCL"))
        )
    model = write_series(tmp_path / "series.onnx")
    out, count = tmp_path / "map.tif", tmp_path / "count.tif"
    others = [str(one) for one in masked[1:]]
    run(str(masked[0]), model, out, SERIES=others, DATE_COUNT=str(count), MASK_BAND="scl")
    left = valid & ~np.isin(clouds, (3, 8, 9, 10))
    np.testing.assert_array_equal(rasters.band(count), left.sum(axis=0))
    run(str(masked[0]), model, out, SERIES=others, DATE_COUNT=str(count), MASK_BAND="SCL", MASK_VALUES="4-5")
    np.testing.assert_array_equal(rasters.band(count), (valid & ~np.isin(clouds, (4, 5))).sum(axis=0))
    with pytest.raises(QgsProcessingException, match="needs a mask band"):
        run(str(masked[0]), model, out, MASK_VALUES="4-5", SERIES=others)


def refused(parameters: dict) -> str:
    from qgis.core import QgsApplication

    algorithm = QgsApplication.processingRegistry().algorithmById("geoaware:segment").create()
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    fine, text = algorithm.checkParameterValues(parameters, context)
    assert not fine
    assert "\n" not in text
    return text


def test_what_does_not_fit_is_one_sentence(running, model, tmp_path):
    files, pixels, _ = dated(tmp_path)
    series, out = write_series(tmp_path / "series.onnx"), str(tmp_path / "map.tif")
    first = {"INPUT": str(files[0]), "MODEL": str(series), "OUTPUT": out}
    several = {**first, "SERIES": [str(files[1])]}
    assert "reads a series of dates: name the layers of the other dates in 'Layers of other dates'" in refused(first)
    assert "reads a series" in refused({**first, "SERIES": [str(files[0])]})
    assert refused({**several, "DATES": "2024-01-01"}).startswith("1 dates are given for 2 layers")
    assert refused({**several, "DATES": "2024-01-01;May"}) == "'May' is no date like 2024-06-30."
    assert "gone.tif" in refused({**first, "SERIES": [str(tmp_path / "gone.tif")]})
    plain = rasters.write(tmp_path / "plain.tif", pixels[0], nodata=0)
    assert "plain.tif" in refused({**first, "SERIES": [str(plain)]})
    assert "'Dates'" in refused({**first, "SERIES": [str(plain)]})
    assert "SCL" in refused({**several, "MASK_BAND": "scl"})
    assert "clouds" in refused({**several, "MASK_BAND": "clouds"})
    far = rasters.write(tmp_path / "far_20240101.tif", pixels[0], transform=(900_000, 10, 0, 5_000_000, 0, -10))
    with pytest.raises(QgsProcessingException, match="far_20240101"):
        run(str(files[0]), series, out, SERIES=[str(far)])
    virtual = tmp_path / "virtual_20240506.vrt"
    gdal.BuildVRT(str(virtual), [str(files[1])]).FlushCache()
    with pytest.raises(QgsProcessingException, match="which is read"):
        run(str(files[0]), series, str(files[1]), SERIES=[str(virtual)])
    assert "scene_20240506" in refused({**first, "SERIES": [str(files[1])], "OUTPUT": str(files[1])})
    assert not Path(out).exists()


def test_extent_is_of_the_grid_of_the_series(running, tmp_path):
    files, pixels, valid = dated(tmp_path)
    # one of another extent and CRS: the grid is that of the others, over all
    moved = rasters.write(
        tmp_path / "moved_20240506.tif", pixels[1][:, 10:, 20:], nodata=0, transform=(500_200, 10, 0, 4_999_900, 0, -10)
    )
    model, out, count = write_series(tmp_path / "series.onnx"), tmp_path / "map.tif", tmp_path / "count.tif"
    extent = {"EXTENT": "500000,500400,4999500,5000000 [EPSG:32633]", "DATE_COUNT": str(count)}
    run(str(moved), model, out, SERIES=[str(files[0]), str(files[2])], **extent)
    seen = valid.copy()
    seen[1, :10] = seen[1, :, :20] = False
    np.testing.assert_array_equal(rasters.band(count), seen.sum(axis=0)[:50, :40])
    wanted = CLASSES[series_answer(pixels, seen, days_of_year()).argmax(axis=0)]
    wanted[~seen.any(axis=0)] = NODATA
    np.testing.assert_array_equal(rasters.band(out), wanted[:50, :40])


@pytest.mark.skipif(shutil.which(PYTHON) is None, reason="no Python with rasterio: see GEOAWARE_TEST_PYTHON")
def test_maps_are_those_of_export_predict(running, model, tmp_path):
    files, pixels, _ = dated(tmp_path)
    # of another CRS, with larger pixels, and one shifted by whole pixels
    files[1] = rasters.write(
        tmp_path / "degrees_20240506.tif",
        pixels[1],
        nodata=0,
        epsg=4326,
        transform=(14.9995, 0.00013, 0, 45.1534, 0, -0.0001),
    )
    files[2] = rasters.write(
        tmp_path / "moved_20240930.tif", pixels[2], nodata=0, transform=(500_070, 10, 0, 4_999_950, 0, -10)
    )
    for made in (write_series(tmp_path / "series.onnx", location=True), model):
        theirs, out, count, sure = (tmp_path / name for name in ("theirs", "map.tif", "count.tif", "sure.tif"))
        mean = [] if "series" in made.name else ["--combine", "mean"]
        command = [PYTHON, "-m", "export.predict", str(made), *map(str, files), "--series", *mean, "--out", str(theirs)]
        command += ["--name", "map", "--confidence", "--date-count", "--provider", "cpu"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        others = [str(one) for one in files[1:]]
        given = {"CONFIDENCE": str(sure), "DATE_COUNT": str(count), "PROVIDER": "cpu"}
        run(str(files[0]), made, out, SERIES=others, **given)
        for ours, name in ((out, "map.tif"), (count, "map_dates.tif"), (sure, "map_confidence.tif")):
            np.testing.assert_array_equal(rasters.band(ours), rasters.band(theirs / name))
            assert gdal.Open(str(ours)).GetGeoTransform() == gdal.Open(str(theirs / name)).GetGeoTransform()
        assert len(np.unique(rasters.band(count))) > 2


def test_layers_removed_while_it_runs_are_read_to_the_end(running, tmp_path):
    files, _, valid = dated(tmp_path, (700, 900))
    layers = [QgsRasterLayer(str(path), path.stem) for path in files]
    QgsProject.instance().addMapLayers(layers)
    ids = [layer.id() for layer in layers]
    model, count = write_series(tmp_path / "series.onnx"), tmp_path / "count.tif"
    feedback = Feedback()
    feedback.progressChanged.connect(lambda _: QgsProject.instance().removeMapLayers(ids))
    del layers
    run(ids[0], model, tmp_path / "map.tif", feedback, SERIES=ids[1:], DATE_COUNT=str(count))
    assert not QgsProject.instance().mapLayers()
    np.testing.assert_array_equal(rasters.band(count), valid.sum(axis=0))


def test_file_that_is_gone_when_it_runs_is_named(running, tmp_path, monkeypatch):
    from geoaware.algorithms.tasks import SegmentAlgorithm

    files, _, _ = dated(tmp_path)
    model, planned = write_series(tmp_path / "series.onnx"), SegmentAlgorithm.prepareAlgorithm

    def prepared(self, *arguments):
        answer = planned(self, *arguments)
        files[1].unlink()
        return answer

    monkeypatch.setattr(SegmentAlgorithm, "prepareAlgorithm", prepared)
    with pytest.raises(QgsProcessingException, match="scene_20240506"):
        run(str(files[0]), model, tmp_path / "map.tif", SERIES=[str(one) for one in files[1:]])
    assert not (tmp_path / "map.tif").exists()


def test_map_tips_tell_the_number_of_dates(running, desktop, tmp_path):
    from geoaware.runtime.results.style import map_tip

    files, _, valid = dated(tmp_path)
    model, count = write_series(tmp_path / "series.onnx"), tmp_path / "it's 5 %] of dates.tif"
    given = {
        "SERIES": [str(one) for one in files[1:]],
        "DATE_COUNT": str(count),
        "CONFIDENCE": str(tmp_path / "sure.tif"),
    }
    layer = run(str(files[0]), model, tmp_path / "out.tif", load=True, **given)
    desktop.layer = layer
    desktop.mapCanvas().setDestinationCrs(layer.crs())
    for row, column in ((5, 5), (30, 50), (45, 80)):
        point = QgsPointXY(500_005 + 10 * column, 4_999_995 - 10 * row)
        told = running.map_tips.text_at(point)
        assert told.endswith(f" %), dates: {valid[:, row, column].sum()}"), told
        if hasattr(layer, "mapTipTemplate"):
            assert map_tip_at(layer.mapTipTemplate(), layer, point) == told
    dates = QgsRasterLayer(str(count), "it's 5 %] of dates")
    QgsProject.instance().addMapLayer(dates)
    names = dict.fromkeys(map(int, CLASSES), "a")
    told = map_tip_at(map_tip(names, "", dates.name()), layer, point)
    assert told == f"a, dates: {valid[:, row, column].sum()}"
    QgsProject.instance().removeMapLayer(dates.id())
    assert map_tip_at(map_tip(names, "", "gone"), layer, point) == "a"


def test_single_layers_run_as_before(running, tmp_path, scene):
    """A script or a model of somebody who knows nothing of series."""
    raster = rasters.write(tmp_path / "scene.tif", scene[0], nodata=0)
    model = write_strongest_band(tmp_path / "one.onnx")
    run(str(raster), model, tmp_path / "out.tif", SERIES=None, DATES=None)
    np.testing.assert_array_equal(rasters.band(tmp_path / "out.tif"), scene[1])
