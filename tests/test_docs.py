"""The pages name what is there: paths, commands and their options; the code of the Python pages runs."""

import argparse
import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import jsonargparse
import pytest

from tests.conftest import make_small_sample, make_world

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "models" / "README.md"])
OURS = ["benchmarks", "configs", "core", "docs", "export", "models", "qgis_plugin", "tests"]


def test_every_path_on_the_pages_exists():
    checked = 0
    for page in PAGES:
        text = page.read_text()
        links = [page.parent / link for link in re.findall(r"\]\((?!https:)([^)#:]+)[^)]*\)", text)]
        named = [ROOT / path for path in re.findall(rf"`((?:{'|'.join(OURS)})/[\w./-]+)`", text)]
        missing = [str(path) for path in links + named if not path.exists()]
        assert missing == [], page.name
        checked += len(links + named)
    assert checked > 50


def test_tree_in_the_readme_is_that_of_the_sources():
    tree = (ROOT / "README.md").read_text().split("## Repository")[1].split("\n## ")[0]
    named, parents = set(), {}
    for indent, entry in re.findall(r"^    ( *)((?:[\w.]+/? )+)", tree, re.MULTILINE):
        for name in entry.split():
            path = parents.get(len(indent) - 2, ROOT) / name.rstrip("/")
            assert path.exists(), name
            named.add(path)
        parents[len(indent)] = path
    packages = {path.parent for top in ("core", "export", "qgis_plugin") for path in (ROOT / top).glob("*/__init__.py")}
    packages |= {path.parent for path in (ROOT / "export" / "runtime").glob("*/__init__.py")}
    assert packages - named == set()
    assert {ROOT / name for name in OURS} <= named


class Parsed(Exception):
    """A command line was accepted; the command itself is not to run."""


def commands() -> list[str]:
    """Each line of a page that runs a module of ours, without remarks and with its continuations."""
    lines = set()
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for line in re.findall(r"^    .*?-m ((?:core|export)\.[a-z_]+ .*)$", text, re.MULTILINE):
            lines.add(shlex.join(shlex.split(line, comments=True)))
    return sorted(lines)


@pytest.mark.parametrize("line", commands())
def test_every_command_on_the_pages_is_accepted(line, monkeypatch, capsys):
    for parser in (argparse.ArgumentParser, jsonargparse.ArgumentParser):

        def parse(self, *arguments, accepted=parser.parse_args, **named):
            accepted(self, *arguments, **named)
            raise Parsed

        monkeypatch.setattr(parser, "parse_args", parse)
    module, *arguments = shlex.split(line)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    try:
        with pytest.raises(Parsed):
            importlib.import_module(module).main()
    except SystemExit:
        pytest.fail(capsys.readouterr().err)


def test_every_make_target_on_the_pages_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for page in PAGES for name in re.findall(r"(?:^    |`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert len(named) > 5
    assert named - targets == set()


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_every_snippet_of_the_python_page_runs(there):
    (there / "scenes").mkdir()
    make_world(there / "scenes")
    (there / "scenes" / "labels.tif").rename(there / "labels.tif")
    snippets = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)
    assert len(snippets) >= 7
    names: dict = {"__name__": "snippets"}
    for snippet in snippets:
        exec(snippet, names)
    assert names["vectors"].shape == (8, 512)
    assert names["probabilities"].shape == (1, 3, 64, 64)


def test_every_cell_of_the_notebook_runs(there, monkeypatch, capsys):
    monkeypatch.setenv("GEOAWARE_SAMPLE", str(make_small_sample(there / "sample")))
    (there / "core").mkdir()  # where the notebook stops climbing
    cells = json.loads((DOCS / "quickstart.ipynb").read_text())["cells"]
    names: dict = {"__name__": "notebook"}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]  # nothing of the machine that wrote it
            exec("".join(cell["source"]), names)
    assert "%" in capsys.readouterr().out.splitlines()[-1]
    assert (there / "outputs" / "notebook" / "classes.onnx").is_file()
