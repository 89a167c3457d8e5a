"""What every adapter of a raster library must do: the tests of rasterio and of GDAL in QGIS both call these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.runtime.raster.window import Window
from export.runtime.results.vectors import write_objects, write_patches

# Polygons that are hard to bring onto a raster: name: (its CRS, (west, north, pixel width, height), rows and columns,
# the CRS of the polygons, the polygons as WKT). "box w s e n" is a box with a corner at each end of its sides only.
POLYGONS: dict[str, tuple[str, tuple[float, float, float, float], tuple[int, int], str, list[str]]] = {
    "the world on UTM": ("EPSG:32637", (400_000, 6_200_000, 2000, 2000), (45, 65), "EPSG:4326", ["box -180 -90 180 90"]),
    "half the world on UTM": ("EPSG:32637", (100_000, 100_000, 9000, 5000), (45, 65), "EPSG:4326", ["box 0 0 180 90"]),
    "both ends of the world on UTM": (
        "EPSG:32701", (100_000, 8_300_000, 10_000, 10_000), (45, 65), "EPSG:4326",
        ["box -180 -21 -179 -16", "box 178 -19 180 -16", "box 0 0 1 1"],
    ),
    "beyond 180 on UTM": (
        "EPSG:32660", (100_000, 7_000_000, 10_000, 10_000), (45, 65), "EPSG:4326",
        ["box 179 58 185 61", "box -184 61.5 -181 62.5"],
    ),
    "long sides": ("EPSG:32633", (300_000, 6_670_000, 1000, 1000), (60, 320), "EPSG:4326", ["box 14 59.75 19 60"]),
    "a pole": ("EPSG:3031", (-300_000, 300_000, 10_000, 10_000), (61, 61), "EPSG:4326", ["box -180 -90 100 -89", "box 120 -89.5 130 -80"]),
    "all around a pole": ("EPSG:3995", (-900_000, 900_000, 30_000, 30_000), (60, 60), "EPSG:4326", ["box -180 84 180 90"]),
    "from 0 to 360": ("EPSG:4326", (0, 90, 4, 4), (45, 90), "EPSG:4326", ["box -171 -41 -61 19", "box -7 29 9 49", "box 299 -81 419 -71"]),
    "from -180 to 180": ("EPSG:4326", (-180, 90, 4, 4), (45, 90), "EPSG:4326", ["box 169 -41 229 19", "box 351 29 369 49"]),
    "across the antimeridian": (
        "EPSG:4326", (175, -10, 0.2, 0.2), (50, 50), "EPSG:4326", ["box -180 -19 -179 -16", "box 177 -18 180 -12"],
    ),
    "another datum from 0 to 360": ("EPSG:4267", (0, 80, 5, 5), (30, 72), "EPSG:4326", ["box -150 20 -60 70", "box -180 0 180 10"]),
    "the world on Mercator": (
        "EPSG:3857", (-20_037_508.342789244, 20_037_508.342789244, 626_172.1357, 626_172.1357), (64, 64), "EPSG:4326",
        ["box -180 -90 180 40", "box 100 60 260 70"],
    ),
    "the world on Mollweide": (
        "ESRI:54009", (-18_100_000, 9_100_000, 400_000, 400_000), (46, 91), "EPSG:4326",
        ["box -180 20 -20 60", "box 20 -90 180 10", "box -19 61 19 62"],
    ),
    "one side of the globe": (
        "+proj=ortho +lat_0=20 +lon_0=10 +datum=WGS84", (-6_500_000, 6_500_000, 200_000, 200_000), (65, 65), "EPSG:4326",
        ["box -180 -90 0 90", "box 20 -40 170 60"],
    ),
    "polar polygons on degrees": ("EPSG:4326", (-180, -60, 4, 1), (30, 90), "EPSG:3031", ["box -1e6 -2e6 2e6 5e5"]),
    "grads": ("EPSG:2154", (600_000, 6_900_000, 3000, 3000), (60, 70), "EPSG:4807", ["box 0.5 52 2 53", "box -400 50 400 51"]),
    "UTM on Europe": ("EPSG:3035", (4_000_000, 4_000_000, 20_000, 20_000), (60, 60), "EPSG:32633", ["box 3e5 5e6 8e5 6.5e6"]),
    "broken": (
        "EPSG:32633", (500_000, 5_000_000, 10, 10), (60, 60), "EPSG:32633",
        [
            "POLYGON ((500000 5000000, 500203 4999800, 500203 5000000, 500000 4999800, 500000 5000000))",
            "MULTIPOLYGON (((500300 4999700, 500300 4999900, 500500 4999900, 500500 4999700, 500300 4999700)),"
            "((500400 4999600, 500400 4999800, 500600 4999800, 500600 4999600, 500400 4999600)))",
            "GEOMETRYCOLLECTION (POINT (500010 4999990), GEOMETRYCOLLECTION (POLYGON ((500000 4999500, 500100 4999500, 500100 4999400, 500000 4999500))))",
        ],
    ),
}  # fmt: skip
NEVER_STOP = lambda: True  # noqa: E731


def raster_out_keeps_what_it_is_given(create: Any, grid: Any, faults: type[Exception], folder: Path) -> np.ndarray:
    """Write values in strips, read them back, make a COG and give its pixels."""
    values = np.random.default_rng(0).normal(size=(2, *grid.shape)).astype(np.float32)
    values[:, 3, 4] = np.nan
    writer = create(folder / "plain.tif", grid, "float32", np.nan, ["one", "two"])
    for strip in grid.whole.strips(7):
        writer.write(strip.row, values[:, strip.row : strip.row + strip.height])
    np.testing.assert_array_equal(writer.read(5, 9), values[:, 5:14])
    writer.to_cog(folder / "cog.tif", "AVERAGE", NEVER_STOP)
    writer.discard()
    assert not (folder / "plain.tif").exists()
    with pytest.raises(faults) as caught:
        create(folder / "nowhere" / "plain.tif", grid, "uint8", 255, ["one"])
    assert caught.value.message.kind == "write_failed"
    return values


def vector_out_traces_patches_and_writes_objects(
    create: Any, vector: Any, grid: Any, legend: Any, objects: Any, folder: Path
) -> tuple[int, int]:
    """Write the patches of a small map, one of them with a hole, and two boxes; how many of each."""
    classes = np.full(grid.shape, 3, np.uint8)
    classes[2:8, 2:8], classes[4:6, 4:6], classes[:, -2:] = 7, 3, 255
    blocks = [(classes, np.full(grid.shape, 80, np.uint8))]
    place = (grid, legend, 255, 0.0, create, vector, NEVER_STOP)
    patches = write_patches(folder / "patches.gpkg", blocks, *place)
    return patches, write_objects(folder / "objects.gpkg", objects, grid, legend, None, vector, NEVER_STOP)


def pixels_are_the_stored_ones(pixels: Any, stored: np.ndarray, nodata: float) -> None:
    """An open file of three bands named red, nir and swir, with a nodata value."""
    assert ([band.name for band in pixels.bands], pixels.usable, pixels.sampled, pixels.sized) == (
        ["red", "nir", "swir"],
        [1, 2, 3],
        True,
        False,
    )
    assert pixels.grid.shape == stored.shape[1:]
    assert {pixels.dtype(band) for band in pixels.usable} == {stored.dtype.name}
    assert (pixels.nodata(1), pixels.masked([1, 2])) == (nodata, False)
    assert any(name.endswith(Path(pixels.address).name) for name in pixels.files)
    read, valid = pixels.read([3, 1], Window(2, 1, 5, 6))
    part = stored[[2, 0], 2:7, 1:7]
    np.testing.assert_array_equal(read, part)
    assert valid.shape == part.shape[1:]
    assert valid.all()
    pixels.close()


# CRSs that people's rasters have, beside plain codes of EPSG: (text, unit in metres or degrees, kept by a TIFF's own keys).
CRS_KINDS = {
    "grads": ("EPSG:4807", 0.9, True),
    "rotated pole": (
        "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=40 +lon_0=15 +to_meter=0.0174532925199433 +R=6371229",
        1,
        False,
    ),
    "site grid": ('LOCAL_CS["mine",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]', 1, True),
    "site grid in feet": (
        'LOCAL_CS["mine",UNIT["foot",0.3048],AXIS["Easting",EAST],AXIS["Northing",NORTH]]',
        0.3048,
        True,
    ),
    "engineering": (
        'ENGCRS["mine",EDATUM["peg 7"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]',
        1,
        False,
    ),
    "with heights": ("EPSG:25832+5783", 1, True),
    "bound": (
        "+proj=tmerc +lat_0=0 +lon_0=9 +k=1 +x_0=3500000 +y_0=0 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7 +units=m",
        1,
        True,
    ),
    "bound, in degrees": ("+proj=longlat +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7", 1, None),
    "own ellipsoid": ("+proj=utm +zone=33 +a=6378300 +b=6356700 +units=m", 1, True),
    "derived": (
        'DERIVEDPROJCRS["shifted",BASEPROJCRS["base",BASEGEOGCRS["WGS 84",DATUM["World Geodetic System 1984",'
        'ELLIPSOID["WGS 84",6378137,298.257223563,LENGTHUNIT["metre",1]]]],CONVERSION["UTM zone 31N",'
        'METHOD["Transverse Mercator"],PARAMETER["Latitude of natural origin",0,ANGLEUNIT["degree",0.0174532925199433]],'
        'PARAMETER["Longitude of natural origin",3,ANGLEUNIT["degree",0.0174532925199433]],PARAMETER["Scale factor at '
        'natural origin",0.9996,SCALEUNIT["unity",1]],PARAMETER["False easting",500000,LENGTHUNIT["metre",1]],'
        'PARAMETER["False northing",0,LENGTHUNIT["metre",1]]]],DERIVINGCONVERSION["Affine",METHOD["Affine parametric '
        'transformation",ID["EPSG",9624]],PARAMETER["A0",10000,LENGTHUNIT["metre",1],ID["EPSG",8623]],PARAMETER["A1",1,'
        'SCALEUNIT["coefficient",1],ID["EPSG",8624]],PARAMETER["A2",0,SCALEUNIT["coefficient",1],ID["EPSG",8625]],'
        'PARAMETER["B0",10000,LENGTHUNIT["metre",1],ID["EPSG",8639]],PARAMETER["B1",0,SCALEUNIT["coefficient",1],'
        'ID["EPSG",8640]],PARAMETER["B2",1,SCALEUNIT["coefficient",1],ID["EPSG",8641]]],CS[Cartesian,2],AXIS["easting",'
        'east],AXIS["northing",north],LENGTHUNIT["metre",1]]',
        1,
        False,
    ),
    "in feet": ("EPSG:2263", 1200 / 3937, True),
    "Paris": ("EPSG:27572", 1, True),
}
