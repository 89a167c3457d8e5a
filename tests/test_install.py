"""The project as a package: built into a wheel, it runs where no checkout is on the path."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import geopandas
import grimp
import numpy as np
import pytest
import rasterio
import tomllib

from core.version import version
from tests.models import write_model

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the sources: setuptools leaves a ``build`` folder in theirs."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    for name in ("core", "export", "qgis_plugin"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "metadata.txt"):
        shutil.copy(ROOT / name, sources)
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, sources], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs a module of the installed wheel, with the dependencies of this environment and no sight of the checkout."""
    target = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    # -S: no .pth file, so no editable installation; -P: not the working folder.
    python = [sys.executable, "-S", "-P"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(target), sysconfig.get_path("purelib")])}

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [*python, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=target.parent,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import core, export; print(core.__file__, export.__file__)").split() == [
        str(target / name / "__init__.py") for name in ("core", "export")
    ]
    return run


def test_wheel_holds_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {
        path.relative_to(ROOT).as_posix()
        for top in ("core", "export")
        for path in (ROOT / top).rglob("*")
        if path.suffix in (".py", ".png")
    }
    assert names == sources


def test_installed_package_maps_a_raster_and_assesses_the_map(installed, world, tmp_path):
    scenes, _ = world
    model = write_model(tmp_path / "model.onnx", np.random.default_rng(0).normal(size=(3, 3, 1, 1)) / 100)
    installed("-m", "export.predict", model, scenes[0], "--out", tmp_path / "maps", "--provider", "cpu")
    mapped = tmp_path / "maps" / scenes[0].name
    with rasterio.open(mapped) as raster:
        classes, (rows, columns) = raster.read(1), np.mgrid[8:320:24, 8:320:24].reshape(2, -1)
        points = geopandas.points_from_xy(*rasterio.transform.xy(raster.transform, rows, columns), crs=raster.crs)
    reference = geopandas.GeoDataFrame({"class": classes[rows, columns].astype(int)}, geometry=points)
    reference.to_file(tmp_path / "points.gpkg")
    out = tmp_path / "accuracy.json"
    installed("-m", "export.assess", mapped, "--reference", tmp_path / "points.gpkg", "--out", out)
    assert json.loads(out.read_text())["overall"] == 1


def test_installed_package_pretrains_and_keeps_its_version(installed, world, tmp_path):
    scenes, _ = world
    store, run = tmp_path / "store", tmp_path / "run"
    installed("-m", "core.prepare", "rasters", *scenes, "--size", 32, "--out", store, "--workers", 1)
    options = ("--epochs", 1, "--batch-size", 32, "--queue", 64, "--clusters", 4, "--device", "cpu")
    installed("-m", "core.train", "pretrain", "--data", store, "--out", run, *options)
    assert (run / "encoder.safetensors").is_file()
    assert json.loads((run / "version.json").read_text())["geoaware"] == version()


@pytest.mark.parametrize(
    ("modules", "extras"),
    [
        (("core", "export"), ("train", "inference", "dask")),
        (
            ("export.predict", "export.assess", "export.batch", "export.rasterio_io", "export.runtime"),
            ("inference", "dask"),
        ),
    ],
)
def test_every_imported_package_is_declared(modules, extras):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {_normal(line) for extra in extras for line in project["optional-dependencies"][extra]}
    distributions = packages_distributions()
    graph = grimp.build_graph("core", "export", include_external_packages=True, cache_dir=None)
    ours = [module for module in graph.modules if any(f"{module}.".startswith(f"{name}.") for name in modules)]
    assert len(ours) > len(modules)
    external = {
        top
        for module in ours
        for top in graph.find_modules_directly_imported_by(module)
        if graph.is_module_squashed(top)
    }
    assert "numpy" in external
    missing = {
        top
        for top in external - set(sys.stdlib_module_names)
        if not {_normal(name) for name in distributions.get(top, ())} & declared
    }
    assert missing == set()


def _normal(requirement: str) -> str:
    """``scikit_learn>=1.5`` as the package index writes the name: ``scikit-learn``."""
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def test_version_is_that_of_the_metadata_and_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert version() == project["version"]
