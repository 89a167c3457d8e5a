"""The staged plugin in ``qgis_process``: another process, a fresh profile, QGIS's own Python."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from tests.models import write_series
from tests.qgis import rasters
from tests.qgis.test_series import dated

# Debian's qgis_process is a script that adds an option which the program itself refuses: so that one first
QGIS_PROCESS = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
pytestmark = pytest.mark.skipif(QGIS_PROCESS is None, reason="qgis_process is not installed here")
# onnxruntime and what it imports; numpy is QGIS's own
PACKAGES = ("onnxruntime", "flatbuffers", "google", "packaging")


@pytest.fixture
def profile(tmp_path, plugins_folder) -> Path:
    """A fresh profile with the plugin in it and switched on, as after "Install from ZIP"."""
    folder = tmp_path / "profile"
    folder.mkdir(mode=0o700)
    home = folder / "profiles" / "default"
    shutil.copytree(plugins_folder / "geoaware", home / "python" / "plugins" / "geoaware")
    (home / "QGIS").mkdir()
    (home / "QGIS" / "QGIS3.ini").write_text("[PythonPlugins]\ngeoaware=true\n")
    return folder


@pytest.fixture
def with_onnxruntime(profile) -> None:
    """Put onnxruntime into the folder that the plugin advises to install it into."""
    target = profile / "profiles" / "default" / "python" / "geoaware_packages"
    target.mkdir()
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None:
            (target / name).symlink_to(next(iter(spec.submodule_search_locations)))


def qgis_process(profile: Path, *arguments: object) -> subprocess.CompletedProcess:
    """Run it with nothing of this process's environment that could stand in for the profile."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(profile), "XDG_RUNTIME_DIR": str(profile)}
    environment.update(QT_QPA_PLATFORM="offscreen", QGIS_CUSTOM_CONFIG_PATH=str(profile), LC_ALL="C.UTF-8")
    command = [QGIS_PROCESS, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_run_gives_the_same_file(profile, with_onnxruntime, model, scene, tmp_path):
    raster = rasters.write(tmp_path / "scene.tif", scene[0], nodata=0)
    out = tmp_path / "out.tif"
    answer = qgis_process(
        profile, "--json", "run", "geoaware:segment", "--", f"INPUT={raster}", f"MODEL={model}", f"OUTPUT={out}"
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["results"] == {"OUTPUT": str(out)}
    np.testing.assert_array_equal(rasters.band(out), scene[1])
    assert out.with_suffix(".qml").is_file()
    assert Path(f"{out}.aux.xml").is_file()


def test_series_is_a_parameter_given_several_times(profile, with_onnxruntime, tmp_path):
    files, _, valid = dated(tmp_path)
    out, count = tmp_path / "out.tif", tmp_path / "count.tif"
    given = [f"INPUT={files[0]}", *(f"SERIES={path}" for path in files[1:]), f"OUTPUT={out}", f"DATE_COUNT={count}"]
    model = write_series(tmp_path / "series.onnx")
    answer = qgis_process(profile, "run", "geoaware:segment", "--", *given, f"MODEL={model}")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    np.testing.assert_array_equal(rasters.band(count), valid.sum(axis=0))


def test_help_lists_the_parameters(profile, with_onnxruntime):
    answer = qgis_process(profile, "help", "geoaware:segment")
    assert answer.returncode == 0, answer.stderr
    assert all(name in answer.stdout for name in ("INPUT", "MODEL", "BANDS", "CONFIDENCE", "OUTPUT"))


def test_missing_onnxruntime_is_explained(profile, model, scene, tmp_path):
    check = "import onnxruntime"
    if subprocess.run(["/usr/bin/python3", "-c", check], capture_output=True, check=False).returncode == 0:
        pytest.skip("onnxruntime is installed for the whole system here")
    raster = rasters.write(tmp_path / "scene.tif", scene[0])
    answer = qgis_process(
        profile, "run", "geoaware:segment", "--", f"INPUT={raster}", f"MODEL={model}", f"OUTPUT={tmp_path / 'o.tif'}"
    )
    assert answer.returncode != 0
    said = answer.stdout + answer.stderr
    assert "The Python package onnxruntime is not installed." in said
    assert "pip install --upgrade --no-deps --target" in said
    assert "Traceback" not in said
