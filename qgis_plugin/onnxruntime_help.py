"""Whether onnxruntime can be used, and what to do if not. Installs nothing itself: ``ui.install`` does.

QGIS includes every other package. On Windows and macOS ``sys.executable`` is QGIS, not Python, so the advice is a
command that any Python on the machine can run: it installs into a folder of the profile that the plugin adds to
``sys.path``.
"""

import importlib
import importlib.util
import platform
import re
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from qgis.core import QgsApplication

from .runtime.model.devices.packages import MINIMUM_ONNXRUNTIME, ONNXRUNTIME, OPENVINO, Package
from .texts import tr

MINIMUM = ONNXRUNTIME.least
# OpenVINO runs models up to several times as fast on the same CPU; it has packages wherever onnxruntime has.
PACKAGES = (ONNXRUNTIME, OPENVINO)
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
OLDEST_PYTHON = (3, 11)  # the oldest that onnxruntime 1.24.1 has wheels for


def packages_folder() -> Path:
    """Folder for onnxruntime: in the profile, so that an update of the plugin keeps it."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "python" / "geoaware_packages"


def add_packages_folder() -> None:
    """Put the folder first on ``sys.path``, before any older onnxruntime.

    The numpy of QGIS stays in use: pip installs with ``--no-deps``, so the folder contains only onnxruntime and OpenVINO.
    """
    folder = str(packages_folder())
    if Path(folder).is_dir() and folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()


def quick_problem() -> str:
    """The problem that can be seen without importing onnxruntime, which is slow; else empty."""
    if is_loaded():
        return problem()
    add_packages_folder()
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None:
        return _missing()
    # the metadata beside the package that will be imported: another folder may hold another version
    metadata = Path(spec.origin).parent.parent.glob("onnxruntime-*.dist-info") if spec.origin else ()
    problems = [_age_problem(path.stem.split("-", 1)[1]) for path in metadata]
    return problems[0] if problems and all(problems) else _python_problem()


def problem() -> str:
    """One sentence that says why onnxruntime cannot be used; empty if it can."""
    add_packages_folder()  # it may have been filled since QGIS started
    try:
        version = importlib.import_module("onnxruntime").__version__
    except Exception as error:  # a broken package may raise anything
        if isinstance(error, ImportError) and error.name == "onnxruntime":
            return _missing()
        text = tr("The Python package onnxruntime is installed but cannot be imported ({error}).")
        return _python_problem() or text.format(error=error)
    return _age_problem(version)


def is_loaded() -> bool:
    """Whether QGIS has imported an onnxruntime or parts of one: no other can be imported before a restart."""
    return any(name.split(".")[0] == "onnxruntime" and module for name, module in list(sys.modules.items()))


def restart() -> str:
    """Says that an installation needs a restart of QGIS; empty if it does not."""
    text = tr("QGIS has already loaded the unusable onnxruntime: restart QGIS after the installation.")
    return text if is_loaded() else ""


def _missing() -> str:
    return tr("The Python package onnxruntime is not installed.")


def _age_problem(version: str) -> str:
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    text = tr(
        "onnxruntime {version} is too old: it has known vulnerabilities with untrusted models. "
        "{minimum} or newer is needed."
    )
    return text.format(version=version, minimum=MINIMUM) if numbers and numbers < MINIMUM_ONNXRUNTIME else ""


def _python_problem() -> str:
    """Whether the package was built for another Python: a profile keeps its folder when QGIS is upgraded."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or not spec.origin:
        return ""
    name = "onnxruntime_pybind11_state"
    endings = [path.name[len(name) :] for path in (Path(spec.origin).parent / "capi").glob(f"{name}.*")]
    built_for = [tag for tag in (re.search(r"cp(?:ython-)?(\d)(\d+)", ending) for ending in endings) if tag]
    if any(ending in EXTENSION_SUFFIXES for ending in endings) or not built_for:
        return ""
    return tr(
        "The onnxruntime that is installed is for Python {other}, but this QGIS runs Python {own}: install it again."
    ).format(other=".".join(built_for[0].groups()), own=PYTHON)


def obstacle() -> str:
    """Why onnxruntime cannot be installed on this machine; empty if it can."""
    text = ""
    if sys.version_info < OLDEST_PYTHON:
        text = tr(
            "onnxruntime {minimum} needs Python 3.11 or newer, this QGIS runs Python {version}: use a newer QGIS."
        )
    elif sys.platform == "darwin" and platform.machine() == "x86_64":
        text = tr("onnxruntime {minimum} is not available for Macs with an Intel processor.")
    return text.format(minimum=MINIMUM, version=platform.python_version())


def install_command(packages: Sequence[Package] = PACKAGES) -> str:
    """Command for a terminal; any Python can run it, the wheel is for the Python of QGIS."""
    python = "python" if sys.platform == "win32" else "python3"
    names = " ".join(f'"{one.requirement}"' for one in packages)
    return (
        f'{python} -m pip install --upgrade --no-deps --target "{packages_folder()}" --only-binary=:all: '
        f"--python-version {PYTHON} {names}"
    )


def advice() -> str:
    """What to do, without the command."""
    where = tr("the OSGeo4W Shell (in the start menu beside QGIS)") if sys.platform == "win32" else tr("a terminal")
    text = tr("Run this command in {where} and try again. It changes nothing outside the folder that it names.")
    return obstacle() or text.format(where=where)


def sentence(reason: str) -> str:
    """The problem and its remedy for a log or a shell, which have no window."""
    if obstacle():
        return f"{reason} {advice()}"
    return " ".join(part for part in (reason, advice(), restart()) if part) + "\n" + install_command()
