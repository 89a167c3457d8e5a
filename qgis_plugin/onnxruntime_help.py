"""Says whether onnxruntime can be used, and what to do if not. Installs nothing itself: ``ui.install`` does.

QGIS brings every other package. On Windows and macOS ``sys.executable`` is QGIS, not Python, so the advice is a
command that any Python on the machine can run: it fills a folder of the user's profile that the plugin looks into.
"""

import importlib
import importlib.util
import platform
import re
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from qgis.core import QgsApplication

from .runtime.model.session import MINIMUM_ONNXRUNTIME
from .texts import tr

WANTED = ".".join(map(str, MINIMUM_ONNXRUNTIME))
OLDEST_PYTHON = (3, 11)  # the oldest that onnxruntime 1.24.1 has wheels for


def packages_folder() -> Path:
    """Where the advised command puts onnxruntime: in the profile, so that an update of the plugin keeps it."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "python" / "geoaware_packages"


def add_packages_folder() -> None:
    """Let Python look into the folder first, or an older onnxruntime elsewhere would win.

    QGIS's own numpy stays the one in use: pip fills the folder with ``--no-deps``, so it holds nothing but onnxruntime.
    """
    folder = str(packages_folder())
    if Path(folder).is_dir() and folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()


def quick_problem() -> str:
    """The problem as far as it shows without importing onnxruntime, which takes a moment; else empty."""
    if is_loaded():
        return problem()
    add_packages_folder()
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None:
        return _missing()
    # what pip wrote beside the package that will be imported: another folder may hold another version
    beside = Path(spec.origin).parent.parent.glob("onnxruntime-*.dist-info") if spec.origin else ()
    problems = [_age_problem(path.stem.split("-", 1)[1]) for path in beside]
    return problems[0] if problems and all(problems) else _python_problem()


def problem() -> str:
    """One sentence that says why onnxruntime cannot be used; empty where it can."""
    add_packages_folder()  # it may have been filled since QGIS started
    try:
        version = importlib.import_module("onnxruntime").__version__
    except Exception as error:  # a broken package may raise anything
        if isinstance(error, ImportError) and error.name == "onnxruntime":
            return _missing()
        text = tr("The Python package onnxruntime is there but does not start ({error}).")
        return _python_problem() or text.format(error=error)
    return _age_problem(version)


def is_loaded() -> bool:
    """Whether this QGIS has imported an onnxruntime or parts of one; until it is restarted no other can be."""
    return any(name.split(".")[0] == "onnxruntime" and module for name, module in list(sys.modules.items()))


def restart() -> str:
    """What else an installation needs, to be asked before it; empty where nothing."""
    if not is_loaded():
        return ""
    return tr("This QGIS has already loaded the onnxruntime that cannot be used: restart QGIS after the installation.")


def _missing() -> str:
    return tr("The Python package onnxruntime is not installed.")


def _age_problem(version: str) -> str:
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if not numbers or numbers >= MINIMUM_ONNXRUNTIME:
        return ""
    text = tr("onnxruntime {found} is too old to be safe with files from others; {wanted} or newer is needed.")
    return text.format(found=version, wanted=WANTED)


def _python_problem() -> str:
    """Whether the package was built for another Python: a profile keeps its folder when QGIS is upgraded."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or not spec.origin:
        return ""
    name = "onnxruntime_pybind11_state"
    endings = [path.name[len(name) :] for path in (Path(spec.origin).parent / "capi").glob(f"{name}.*")]
    built_for = [re.search(r"cp(?:ython-)?(\d)(\d+)", ending) for ending in endings]
    if any(ending in EXTENSION_SUFFIXES for ending in endings) or not any(built_for):
        return ""
    other = next(".".join(tag.groups()) for tag in built_for if tag)
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return tr(
        "The onnxruntime that is installed is for Python {other}, but this QGIS runs Python {own}: install it again."
    ).format(other=other, own=own)


def obstacle() -> str:
    """Why no command can help on this machine; empty where one can."""
    if sys.version_info < OLDEST_PYTHON:
        text = tr("onnxruntime {wanted} needs Python 3.11 and this QGIS runs Python {found}: use a newer QGIS.")
        return text.format(wanted=WANTED, found=platform.python_version())
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        text = tr("There is no onnxruntime {wanted} for Macs with an Intel processor.")
        return text.format(wanted=WANTED)
    return ""


def install_command() -> str:
    """One line for a terminal; it does not matter which Python runs it, the wheels are those of QGIS's Python."""
    python = "python" if sys.platform == "win32" else "python3"
    return (
        f'{python} -m pip install --upgrade --no-deps --target "{packages_folder()}" --only-binary=:all: '
        f'--python-version {sys.version_info[0]}.{sys.version_info[1]} "onnxruntime>={WANTED}"'
    )


def advice() -> str:
    """What to do, in plain sentences without the command."""
    blocked = obstacle()
    if blocked:
        return blocked
    where = tr("a terminal")
    if sys.platform == "win32":
        where = tr("the OSGeo4W Shell, which is in the start menu beside QGIS,")
    return tr("Run this line in {where} and try again; nothing outside the named folder is changed.").format(
        where=where
    )


def sentence(reason: str) -> str:
    """The problem and its remedy for a log or a shell, where no dialog can open."""
    if obstacle():
        return f"{reason} {advice()}"
    return " ".join(part for part in (reason, advice(), restart()) if part) + "\n" + install_command()
