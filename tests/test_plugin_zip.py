"""What the plugin repository checks before it publishes the zip, checked here; needs no QGIS."""

from __future__ import annotations

import ast
import configparser
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tomllib

from export import plugin
from export.runtime.messages import MESSAGES
from tests.models import card_item, write_model
from tests.test_source_tree import PLUGIN, sources

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
MAX_BYTES = 25_000_000
MODELS_BYTES = 20_000_000
EXECUTABLES = {".exe", ".dll", ".so", ".dylib", ".bat", ".sh", ".ps1", ".cmd", ".pyc", ".pyo"}


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
        "runtime/infer/sweep.py",
        "gdal_io/job.py",
        "algorithms/tasks.py",
    )
    assert {f"geoaware/{part}" for part in parts} <= set(names)
    assert archive.stat().st_size < MAX_BYTES


def test_zip_holds_text_and_models_only(unpacked):
    models = set((unpacked / "models").glob("*.onnx"))
    files = [path for path in unpacked.rglob("*") if path.is_file() and path not in models]
    assert {path.suffix for path in files} <= {".py", ".svg", ".txt", ".md", ".html", ".ts", ""}
    for path in files:
        assert "\0" not in path.read_text("utf-8")


@pytest.fixture
def with_model(tmp_path, monkeypatch) -> Path:
    """A zip that carries one starter model, as ``make starter-models`` leaves it."""
    source = tmp_path / "models"
    source.mkdir()
    item = card_item() | {"assets": {"model": {"file:checksum": "1220" + hashlib.sha256(b"weights").hexdigest()}}}
    item["properties"]["geoaware:training_data_sha256"] = hashlib.sha256(b"chips").hexdigest()
    weights = np.random.default_rng(0).normal(size=(3, 3, 5, 5))
    path = write_model(source / "tiny.onnx", weights, item)
    path.with_suffix(".mlm.json").write_text(json.dumps(item))
    (source / "README.md").write_text("# Starter models\n")
    monkeypatch.setattr(plugin, "MODELS", source)
    return plugin.build(tmp_path / "dist")


def test_starter_models_come_with_the_zip(with_model, tmp_path):
    with zipfile.ZipFile(with_model) as opened:
        inside = [name for name in opened.namelist() if "/models/" in name]
        assert inside == ["geoaware/models/README.md", "geoaware/models/tiny.onnx"]
        for entry in opened.infolist():
            assert Path(entry.filename).suffix not in EXECUTABLES
            assert not entry.external_attr >> 16 & 0o111
        opened.extractall(tmp_path / "unpacked")
    assert scan("detect_secrets", "-C", tmp_path / "unpacked", "scan", "--all-files")["results"] == {}


def test_starter_models_are_small(unpacked):
    assert sum(path.stat().st_size for path in (unpacked / "models").glob("*")) <= MODELS_BYTES


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
    assert metadata["supportsQt6"] == "True"  # QGIS 3 built with Qt 6 refuses the plugin without it; QGIS 4 ignores it


def test_version_is_the_same_everywhere(metadata, archive):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert metadata["version"] == project["version"] == plugin.version()
    assert archive.name == f"geoaware-{metadata['version']}.zip"


def test_every_module_parses_in_python_3_9(unpacked):
    for path in unpacked.rglob("*.py"):
        ast.parse(path.read_text("utf-8"), str(path), feature_version=(3, 9))


def test_zip_holds_the_modules_of_the_checkout_unchanged(unpacked):
    """So imports that resolve in the checkout (``test_source_tree``) resolve in QGIS too."""
    modules = {path.relative_to(PLUGIN): path.read_bytes() for path in sources(PLUGIN)}
    assert {path.relative_to(unpacked): path.read_bytes() for path in sources(unpacked)} == modules
    assert len(modules) > 50


def spoken(unpacked: Path) -> set[str]:
    """All that the plugin says in English."""
    found = set()
    for path in unpacked.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tr":
                assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}: cannot be translated"
                found.add(node.args[0].value)
    return found | set(MESSAGES.values())


def test_every_sentence_is_translated(unpacked):
    english = spoken(unpacked)
    assert len(english) > 200
    for path in (unpacked / "i18n").glob("*.ts"):
        messages = ElementTree.parse(path).iter("message")
        found = {message.findtext("source"): message.findtext("translation") for message in messages}
        assert english - {source for source, text in found.items() if text} == set(), path.name
        assert set(found) - english == set(), path.name  # nobody says it any more
        for source, text in found.items():
            assert sorted(re.findall("{.*?}", source)) == sorted(re.findall("{.*?}", text)), text


def test_every_language_has_its_help_page(unpacked):
    headings = len(re.findall("<h2>", (unpacked / "help" / "en.html").read_text("utf-8")))
    languages = [path.stem.split("_")[1] for path in (unpacked / "i18n").glob("*.ts")]
    assert languages == ["es"]
    for code in languages:
        assert (unpacked / "help" / f"{code}.html").read_text("utf-8").count("<h2>") == headings


def test_modules_import_under_qt_6(unpacked):
    pytest.importorskip(
        "PyQt6.QtWidgets", reason="PyQt6 or a library of the system that it needs is missing", exc_type=ImportError
    )
    command = [sys.executable, str(ROOT / "tests" / "qt6_imports.py"), str(unpacked)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert len(answer.stdout.split()) == len(list(unpacked.rglob("*.py")))


def test_qt_is_imported_through_qgis_and_its_enums_are_scoped(unpacked):
    """``Qt.AlignLeft`` and ``QgsProcessing.TypeVector`` are gone in Qt 6: their enum must be named too."""
    for path in unpacked.rglob("*.py"):
        text = path.read_text("utf-8")
        tree = ast.parse(text)
        scopes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        arguments = {
            id(node.args[0])
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr"
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or id(node) in scopes | arguments:
                continue
            of_qt = isinstance(node.value, ast.Name) and re.match("Q[a-z]|Qgs|Qgis", node.value.id)
            assert not (of_qt and re.match("[A-Z]+[a-z]", node.attr)), f"{path.name}: {node.value.id}.{node.attr}"
        assert "exec_(" not in text, path.name


def test_nothing_that_the_repository_blocks_is_called(unpacked):
    blocked = {"exec", "eval", "compile", "__import__", "urlopen", "system", "popen", "extractall"}
    for path in unpacked.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                dialog = isinstance(node.func, ast.Attribute) and name == "exec"
                regular = isinstance(node.func, ast.Attribute) and name == "compile"
                assert dialog or regular or name not in blocked, f"{path.name}: {name}"


def test_links_and_folder_are_as_the_repository_wants_them(metadata, archive):
    for key in ("tracker", "repository", "homepage"):
        assert metadata[key].startswith("https://")
    assert "@" in metadata["email"]
    names = zipfile.ZipFile(archive).namelist()
    assert not [name for name in names if "__pycache__" in name or "/." in name or name.startswith("__MACOSX")]
    assert f"geoaware/{metadata['icon']}" in names
    assert metadata["changelog"].startswith(metadata["version"])


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
