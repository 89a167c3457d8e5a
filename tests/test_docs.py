"""The code of docs/python.md and of the notebook runs as it stands there."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import make_small_sample, make_world

DOCS = Path(__file__).parents[1] / "docs"


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
