"""What every adapter of a raster library must do: the tests of rasterio and of GDAL in QGIS both call these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.runtime.raster.window import Window
from export.runtime.results.vectors import write_objects, write_patches

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
    assert (pixels.names, pixels.usable, pixels.sampled, pixels.sized) == (
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
