"""What the plugin repository checks before it publishes the zip, checked here; needs no QGIS."""

from __future__ import annotations

import ast
import configparser
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tomllib

from export import plugin

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = (
    "name",
    "description",
    "version",
    "qgisMinimumVersion",
    "author",
    "email",
    "about",
    "tracker",
    "repository",
    "homepage",
)
FORBIDDEN_IMPORTS = {"torch", "rasterio", "PyQt5", "PyQt6", "cv2", "core", "export"}
MAX_BYTES = 25 * 1024**2


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plugin.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder / "geoaware"


@pytest.fixture(scope="module")
def metadata(unpacked: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser()
    parser.read(unpacked / "metadata.txt", "utf-8")
    return parser["general"]


def test_zip_holds_one_folder_with_all_parts(archive):
    names = zipfile.ZipFile(archive).namelist()
    assert {name.split("/")[0] for name in names} == {"geoaware"}
    parts = (
        "__init__.py",
        "metadata.txt",
        "LICENSE",
        "icon.svg",
        "plugin.py",
        "runtime/__init__.py",
        "runtime/sweep.py",
    )
    assert {f"geoaware/{part}" for part in parts} <= set(names)
    assert archive.stat().st_size < MAX_BYTES


def test_zip_holds_text_only(unpacked):
    files = [path for path in unpacked.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".py", ".svg", ".txt", ".md", ".html", ""}
    for path in files:
        assert "\0" not in path.read_text("utf-8")


def test_two_builds_are_equal(archive, tmp_path):
    assert plugin.build(tmp_path).read_bytes() == archive.read_bytes()


def test_staging_removes_no_foreign_folder(tmp_path):
    folder = tmp_path / "geoaware"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="no staged plugin"):
        plugin.stage(folder)
    with pytest.raises(ValueError, match="must be named"):
        plugin.stage(tmp_path)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_command_says_where_the_zip_is_and_how_to_install_it(tmp_path, capsys):
    plugin.main(["--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert str(next(tmp_path.glob("geoaware-*.zip"))) in said
    assert "Install from ZIP" in said


def test_metadata_is_complete(metadata):
    assert [key for key in REQUIRED if not metadata.get(key)] == []
    assert "plugin" not in metadata["name"].lower()
    assert metadata["hasProcessingProvider"] == "yes"
    assert metadata["qgisMinimumVersion"] == "3.22"
    assert metadata["qgisMaximumVersion"] == "4.99"
    assert "supportsQt6" not in metadata


def test_version_is_the_same_everywhere(metadata, archive):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert metadata["version"] == project["version"] == plugin.version()
    assert archive.name == f"geoaware-{metadata['version']}.zip"


def test_every_module_parses_in_python_3_9(unpacked):
    for path in unpacked.rglob("*.py"):
        ast.parse(path.read_text("utf-8"), str(path), feature_version=(3, 9))


def test_no_module_imports_what_qgis_lacks(unpacked):
    for path in unpacked.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            assert {name.split(".")[0] for name in names} & FORBIDDEN_IMPORTS == set(), path.name


def scan(*command: object) -> dict:
    answer = subprocess.run([sys.executable, "-m", *map(str, command)], capture_output=True, text=True, check=False)
    assert answer.stdout, answer.stderr
    return json.loads(answer.stdout)


def test_bandit_finds_nothing(unpacked):
    report = scan("bandit", "--quiet", "--recursive", unpacked, "--format", "json")
    assert report["results"] == []
    assert report["errors"] == []
    assert len(report["metrics"]) > 10  # it did read the files


def test_detect_secrets_finds_nothing(unpacked):
    assert scan("detect_secrets", "-C", unpacked, "scan", "--all-files")["results"] == {}
