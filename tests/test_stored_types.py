"""Chips of rasters of every type of number: as they are where a store can hold them, else as float32, and said."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import rasterio.shutil

from core.prepare import main
from core.store.read import UNLABELLED, ChipStore, LandClass
from export.runtime.raster.names import below
from tests.conftest import call, write_raster
from tests.pixel_types import TYPES, raw

SIDE = 16
SAID = {"UInt32": "uint32", "Int32": "int32", "UInt64": "uint64", "Int64": "int64", "Float64": "float64"}


def values_of(kind, dtype, nodata):
    """As a file stores them, and as they are meant."""
    meant = np.arange(1.0, SIDE * SIDE + 1).reshape(SIDE, SIDE) % 100
    stored = meant.astype(dtype)
    if kind.startswith("C"):
        parts = np.stack([3 * meant, -4 * meant], axis=-1)  # a magnitude of 5
        stored = parts.astype(dtype) if kind == "CInt16" else (parts[..., 0] + 1j * parts[..., 1]).astype(dtype)
        meant = 5 * meant
    stored[2, 3] = nodata
    return stored, meant


@pytest.mark.parametrize(("kind", "dtype", "nodata"), TYPES)
@pytest.mark.parametrize("command", ["rasters", "table"])
def test_every_type_of_number_becomes_chips(kind, dtype, nodata, command, tmp_path, capsys):
    stored, meant = values_of(kind, dtype, nodata)
    raw(tmp_path / "a_20200101.vrt", kind, stored, nodata)
    where = tmp_path / "a_20200101.vrt"
    if command == "table":
        where = tmp_path / "images.csv"
        where.write_text("path,lon,lat\na_20200101.vrt,1,1\n")
    out = tmp_path / "store"
    assert call(main, command, where, "--size", SIDE, "--out", out, "--workers", 1) == 0
    store = ChipStore(out)
    pixels, valid = store.pixels(np.array([0]))[0, 0], store.valid(np.array([0]))[0]
    gap = meant == 0 if nodata == 0 else np.zeros_like(valid)
    gap[2, 3] = True
    assert np.array_equal(valid, ~gap)
    assert np.array_equal(pixels[valid], meant[valid])
    expected = {"Byte": "uint8", "UInt16": "uint16", "Int16": "int16"}.get(kind, "float32")
    assert store.info.dtype == expected
    said = capsys.readouterr().out
    assert (f"its pixels are {SAID.get(kind)}: stored as float32, which keeps seven digits" in said) == (kind in SAID)
    assert ("their magnitudes are stored as float32" in said) == kind.startswith("C")


def mixed(path, *parts):
    """A virtual raster of bands of several types."""
    bands = []
    for number, (kind, values, nodata) in enumerate(parts, start=1):
        text = raw(path.with_name(f"{path.stem}_{number}.vrt"), kind, values, nodata).read_text()
        bands.append(
            text[text.index("<VRTRasterBand") : text.index("</VRTDataset>")].replace('band="1"', f'band="{number}"')
        )
    path.write_text(text[: text.index("<VRTRasterBand")] + "".join(bands) + "</VRTDataset>")
    return path


def test_bands_of_several_types_have_a_common_one(tmp_path, capsys):
    base = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    for kinds, expected in (
        ((("Byte", "u1"), ("UInt16", "<u2")), "uint16"),
        ((("Byte", "u1"), ("Int16", "<i2")), "int16"),
        ((("UInt16", "<u2"), ("Int16", "<i2")), "float32"),
        ((("Int16", "<i2"), ("Float64", "<f8")), "float32"),
    ):
        parts = [(kind, (base + at).astype(dtype), 7) for at, (kind, dtype) in enumerate(kinds)]
        path = mixed(tmp_path / "a_20200101.vrt", *parts)
        out = tmp_path / "store"
        assert call(main, "rasters", path, "--size", SIDE, "--out", out, "--workers", 1, "--overwrite") == 0
        store = ChipStore(out)
        assert store.info.dtype == expected
        valid = store.valid(np.array([0]))[0]
        assert np.array_equal(valid, (parts[0][1] != 7) & (parts[1][1] != 7))
        both = np.stack([part[1].astype(float) for part in parts])
        assert np.array_equal(store.pixels(np.array([0]))[0][:, valid], both[:, valid])
        assert "stored as " + expected in capsys.readouterr().out


def test_tables_and_labels_take_gdals_names(tmp_path, monkeypatch):
    """Relative to the table's folder, from which the command is not run."""
    folder = tmp_path / "album"
    folder.mkdir()
    values = np.random.default_rng(0).integers(0, 3, (2, SIDE, SIDE)).astype(np.uint8)
    plain = write_raster(folder / "a_20200101.tif", values)
    rasterio.shutil.copy(plain, folder / "cube.nc", driver="netCDF")
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.write(plain, "in/a_20200101.tif")
    far = (
        "https://host/a.tif",
        f"/vsizip/{folder}/all.zip/a.tif",
        "/vsicurl/https://host/a.tif",
        f"netcdf:{folder}/cube.nc:Band1",
    )
    assert [below(name, folder) for name in far] == list(far)
    (folder / "legend.csv").write_text("value,name,color\n0,a,00FF00\n1,b,FFFF00\n2,c,FF0000\n")
    names = (
        "netcdf:cube.nc:Band1",
        'NETCDF:""cube.nc"":Band2',
        "GTIFF_DIR:1:a_20200101.tif",
        "/vsizip/all.zip/in/a_20200101.tif",
    )
    expected = values[:1], values[1:], values, values
    monkeypatch.chdir(tmp_path)
    for number, (name, pixels) in enumerate(zip(names, expected)):
        (folder / "t.csv").write_text(f'path,lon,lat,mask\n"{name}",1,1,netcdf:cube.nc:Band2\n')
        options = ("--size", SIDE, "--workers", 1, "--legend", folder / "legend.csv", "--out", tmp_path / str(number))
        assert call(main, "table", folder / "t.csv", *options) == 0
        store = ChipStore(tmp_path / str(number))
        assert np.array_equal(store.pixels(np.array([0]))[0], pixels)
        assert np.array_equal(store.masks(np.array([0]))[0], values[1])
    for number, name in enumerate(("netcdf:album/cube.nc:Band2", f"netcdf:{folder}/cube.nc:Band2")):
        options = ("--size", SIDE, "--workers", 1, "--labels", name, "--out", tmp_path / f"labels{number}")
        assert call(main, "rasters", plain, *options) == 0
        assert np.array_equal(ChipStore(tmp_path / f"labels{number}").masks(np.array([0]))[0], values[1])


def test_masks_of_images_may_have_any_type_and_are_never_rounded(tmp_path, capsys):
    write_raster(tmp_path / "i.tif", np.ones((1, SIDE, SIDE), np.uint16))
    (tmp_path / "legend.csv").write_text("value,name,color\n3,wood,00FF00\n9,field,FFFF00\n")
    (tmp_path / "t.csv").write_text("path,lon,lat,mask\ni.tif,1,1,m.tif\n")
    values = np.random.default_rng(0).choice([3, 9, -1], (SIDE, SIDE))
    options = ("--size", SIDE, "--workers", 1, "--legend", tmp_path / "legend.csv")
    for dtype in ("int16", "int64", "float32"):
        write_raster(tmp_path / "m.tif", values[None].astype(dtype), nodata=-1)
        out = tmp_path / dtype
        assert call(main, "table", tmp_path / "t.csv", *options, "--out", out) == 0
        store = ChipStore(out)
        assert store.info.classes[1] == LandClass(9, "field", "FFFF00")
        assert np.array_equal(store.masks(np.array([0]))[0], np.where(values < 0, UNLABELLED, values // 9))
    write_raster(tmp_path / "m.tif", np.full((1, SIDE, SIDE), 3.5, np.float32))
    assert call(main, "table", tmp_path / "t.csv", *options, "--out", tmp_path / "none") == 2
    assert "its mask m.tif holds the value 3.5, which is not in the legend" in capsys.readouterr().err
