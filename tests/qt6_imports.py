"""Imports every module of the staged plugin as QGIS 4 would: Qt from PyQt6, QGIS itself as stubs.

Run as a program with the folder that holds the package; prints the names of the modules.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import ClassVar

import PyQt6.QtGui


class _Anything(type):
    """A class of QGIS whose enums and functions are whatever is asked for."""

    def __getattr__(cls, name: str) -> _Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})

    def __call__(cls, *arguments: object, **named: object) -> object:
        if any("__init__" in base.__dict__ or base.__module__.startswith("geoaware") for base in cls.__mro__[:-1]):
            return super().__call__(*arguments, **named)
        return object()


class _Stub(types.ModuleType):
    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> _Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Anything(name, (), {})
        setattr(self, name, made)
        return made


def main() -> None:
    """Import them all."""
    modules = ["qgis", "qgis.core", "qgis.gui", "qgis.PyQt", "osgeo", "osgeo.gdal", "osgeo.ogr", "osgeo.osr"]
    for name in [*modules, "processing", "processing.gui", "processing.gui.wrappers"]:
        sys.modules[name] = _Stub(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    for part in ("QtCore", "QtGui", "QtWidgets", "QtNetwork", "QtXml"):
        module = importlib.import_module(f"PyQt6.{part}")
        sys.modules[f"qgis.PyQt.{part}"] = module
    # as qgis.PyQt does for Qt 6
    sys.modules["qgis.PyQt.QtWidgets"].QAction = PyQt6.QtGui.QAction
    sys.modules["qgis.PyQt.QtCore"].QVariant = _Anything("QVariant", (), {})
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(folder.parent))
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        importlib.import_module(name)
        print(name)


if __name__ == "__main__":
    main()
