"""The shape of the sources: sizes, names, and what may be imported beyond the contracts that ``make lint`` checks."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from collections import Counter
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


def parsed() -> dict[Path, ast.Module]:
    """Every source file once: the plugin's link to the runtime is left out."""
    paths = [path for top in ("core", "export", "qgis_plugin") for path in sources(ROOT / top)]
    return {path: ast.parse(path.read_text("utf-8")) for path in paths if "qgis_plugin/runtime" not in path.as_posix()}


def test_functions_modules_and_folders_are_small():
    trees = parsed()
    assert len(trees) > 150
    functions = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno - node.lineno >= 79
    ]
    modules = [str(path.relative_to(ROOT)) for path in trees if len(path.read_text("utf-8").splitlines()) > 450]
    files = Counter(path.parent for path in trees if path.name != "__init__.py")
    folders = [str(folder.relative_to(ROOT)) for folder, count in files.items() if count > 12]
    assert functions + modules + folders == []


def test_no_two_classes_share_a_name():
    names = Counter(
        node.name for tree in parsed().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in names.items() if count > 1} == set()


def test_benchmarks_import_what_exists():
    """Also where the import stands inside a function, or inside the text of a script for another process."""
    pattern = re.compile(r"from ((?:core|export)[\w.]*) import ([\w, ]+)")
    texts = [path.read_text("utf-8") for path in sources(ROOT / "benchmarks")]
    imports = {
        (module, name.split()[0])
        for text in texts
        for module, names in pattern.findall(text)
        for name in names.split(",")
    }
    assert len(imports) > 50
    for module, name in sorted(imports):
        if not hasattr(importlib.import_module(module), name):
            importlib.import_module(f"{module}.{name}")
