"""The window leads to the page that installs onnxruntime where the one that is found cannot be used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")

from tests.qgis.test_ui import models, until  # noqa: F401


@pytest.fixture
def asked(running, tmp_path, monkeypatch) -> list[str]:
    """What the page says when it opens; it is closed at once."""
    from geoaware import onnxruntime_help
    from geoaware.ui.install import InstallWindow

    seen: list[str] = []
    monkeypatch.setattr(InstallWindow, "exec", lambda window: seen.append(window.label.text()) or 0)
    monkeypatch.setattr(onnxruntime_help, "packages_folder", lambda: tmp_path / "geoaware_packages")
    return seen


@pytest.fixture
def without_imports(tmp_path, monkeypatch):
    """No onnxruntime is imported yet, and the first that Python finds is the one that a test puts there."""
    rest = {name: module for name, module in sys.modules.items() if name.split(".")[0] != "onnxruntime"}
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    with mock.patch.dict(sys.modules, rest, clear=True):
        yield


def put(folder: Path, version: str, code: str) -> None:
    """Install a package of that name."""
    for name in ("onnxruntime/capi", f"onnxruntime-{version}.dist-info"):
        (folder / name).mkdir(parents=True)
    (folder / "onnxruntime/capi/__init__.py").write_text("")
    (folder / "onnxruntime/__init__.py").write_text(code)


def test_old_onnxruntime_opens_the_page_without_being_imported(running, desktop, asked, without_imports, tmp_path):
    put(tmp_path / "site", "1.17.0", "raise SystemError('it was imported')")
    desktop.toolbar[0].trigger()
    (said,) = asked
    assert "onnxruntime 1.17.0 is too old" in said
    assert "restart QGIS" not in said
    assert running.desk.dialog is None


def test_onnxruntime_of_the_profile_wins_over_an_old_one(asked, without_imports, tmp_path):
    from geoaware import onnxruntime_help

    put(tmp_path / "site", "1.17.0", "__version__ = '1.17.0'")
    put(tmp_path / "geoaware_packages", "1.24.1", "__version__ = '1.24.1'")
    assert onnxruntime_help.quick_problem() == ""
    assert onnxruntime_help.problem() == ""


@pytest.mark.parametrize("ending", [".cpython-38-x86_64-linux-gnu.so", ".cp38-win_amd64.pyd"])
def test_onnxruntime_for_another_python_is_named_as_such(asked, without_imports, tmp_path, ending):
    from geoaware import onnxruntime_help

    folder = tmp_path / "geoaware_packages"
    put(folder, "1.24.1", "from onnxruntime.capi.onnxruntime_pybind11_state import get_device")
    (folder / "onnxruntime/capi" / f"onnxruntime_pybind11_state{ending}").write_bytes(b"")
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    expected = f"is for Python 3.8, but this QGIS runs Python {own}: install it again."
    assert onnxruntime_help.quick_problem().endswith(expected)
    assert onnxruntime_help.problem().endswith(expected)
    assert "pip install --upgrade " in onnxruntime_help.install_command()


@pytest.mark.usefixtures("models")
def test_onnxruntime_that_does_not_start_opens_the_page_once_that_is_known(
    running, desktop, asked, without_imports, tmp_path
):
    put(tmp_path / "site", "1.24.1", "import onnxruntime.capi\nraise OSError('DLL load failed')")
    desktop.toolbar[0].trigger()
    assert asked == []
    until(lambda: asked)
    assert "cannot be imported (DLL load failed)" in asked[0]
    assert "restart QGIS after the installation" in asked[0]
    desktop.toolbar[0].trigger()
    assert len(asked) == 2


def test_restart_is_asked_for_when_an_unusable_onnxruntime_is_loaded(asked, tmp_path):
    from geoaware.ui.install import Installing

    installing = Installing()
    installing._hidden = tmp_path / "filled"
    put(installing._hidden, "1.24.1", "__version__ = '1.24.1'")
    with mock.patch.dict(sys.modules, {"onnxruntime": mock.Mock(__version__="1.17.0")}):
        assert installing._take_over() == "Installed. Restart QGIS to use it."
    assert (tmp_path / "geoaware_packages" / "onnxruntime").is_dir()


def test_python_without_pip_gets_the_command_that_installs_it(asked, tmp_path, monkeypatch):
    from geoaware.ui import install

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(install, "python_of_qgis", lambda: tmp_path / "bare/bin/python3")
    installing, ended = install.Installing(), []
    installing.ended.connect(ended.append)
    installing.start()
    until(lambda: ended)
    assert "sudo apt install python3-pip" in ended[0]
    assert not (tmp_path / "geoaware_packages").exists()
