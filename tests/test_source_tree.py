"""The shape of the sources: what may be imported, beyond the contracts that ``make lint`` checks."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "qgis_plugin"
QGIS = {"osgeo", "processing", "qgis"}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("core", "export", "qgis_plugin", include_external_packages=True, cache_dir=None)


def externals(graph: grimp.ImportGraph, package: str) -> set[str]:
    """Packages that are neither ours nor Python's and that some module of the package imports."""
    modules = {package} | graph.find_descendants(package)
    imported = set().union(*(graph.find_modules_directly_imported_by(module) for module in modules))
    return {name for name in imported if graph.is_module_squashed(name)} - set(sys.stdlib_module_names)


def sources(folder: Path) -> list[Path]:
    """Python files below a folder, through links."""
    return sorted(
        Path(top, name) for top, _, names in os.walk(folder, followlinks=True) for name in names if name[-3:] == ".py"
    )


def test_runtime_and_plugin_import_what_every_qgis_has(graph):
    assert externals(graph, "export.runtime") == {"numpy", "onnxruntime"}
    assert externals(graph, "qgis_plugin") <= QGIS | {"numpy", "onnxruntime"}


def test_plugin_imports_resolve_in_the_checkout():
    checked = 0
    for path in sources(PLUGIN):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                target = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                assert target.with_suffix(".py").is_file() or (target / "__init__.py").is_file(), (
                    f"{path}:{node.lineno}"
                )
                checked += 1
    assert checked > 100


def test_plugin_modules_without_qgis_import_from_the_checkout(graph):
    names = sorted(
        module
        for module in graph.modules
        if module.startswith("qgis_plugin.") and not QGIS & graph.find_upstream_modules(module)
    )
    assert "qgis_plugin.runtime.model.session" in names
    code = f"import importlib, sys\nsys.modules['qgis'] = None\nfor name in {names}: importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
