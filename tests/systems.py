"""``make test`` on fresh Debian systems, each built in a folder: ``python -m tests.systems [SYSTEM ...]``.

Needs root, mmdebstrap and about 15 GB at a time. Settings of apt and pip, certificates and the environment are this
machine's; the packages come from where its apt and pip find them. Versions, counts and seconds go into docs/systems.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "systems.md"
WORK = ROOT / "build" / "systems"
SYSTEMS = {"bookworm": "Debian 12 (bookworm)", "trixie": "Debian 13 (trixie)", "testing": "Debian testing"}
PACKAGES = "ca-certificates,git,make,python3,python3-venv"
OTHER_MACHINE = re.compile(r"MAKE|MFLAGS|PYTHON|PYENV|VIRTUAL_ENV|GEOAWARE|OLDPWD")  # variables that hold paths of ours
MOUNTED = """
for kind in dev sys; do mount --rbind /$kind "$0/$kind"; done
mount -t proc proc "$0/proc"
exec chroot "$0" "$@"
"""
VERSIONS = """
import importlib.metadata, platform
print(platform.python_version(), *map(importlib.metadata.version, ("torchgeo", "rasterio")))
"""
QGIS_VERSIONS = """
from osgeo import gdal
from qgis.core import Qgis
from qgis.PyQt.QtCore import QT_VERSION_STR
print(Qgis.QGIS_VERSION.split("-")[0], gdal.__version__, QT_VERSION_STR)
"""


def host_settings() -> dict[str, str]:
    """Contents of the files that let apt and pip work as on this machine, by their paths."""
    apt = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    settings = {"/etc/apt/apt.conf.d/90host": "".join(re.findall(r"^Acquire::(?:https?|Check)\S* .*\n", apt, re.M))}
    certificates = Path("/usr/local/share/ca-certificates").glob("*.crt")
    for path in (Path("/etc/resolv.conf"), Path("/etc/hosts"), Path("/etc/pip.conf"), *certificates):
        if path.is_file():
            settings[str(path)] = path.read_text()
    return settings


def build(system: str, folder: Path) -> None:
    """Make the folder with the system, this machine's settings and a clone of the project."""
    settings = host_settings()
    options = folder.with_suffix(".apt")
    options.write_text(settings["/etc/apt/apt.conf.d/90host"])
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=apt", f"--include={PACKAGES}"]
    subprocess.run([*command, f"--aptopt={options}", system, str(folder)], check=True)
    for path, text in settings.items():
        (folder / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (folder / path[1:]).write_text(text)
    inside(folder, "/", "update-ca-certificates").check_returncode()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "root" / "geoaware")], check=True)


def inside(folder: Path, where: str, *command: str, log: int | None = subprocess.PIPE) -> subprocess.CompletedProcess:
    """Run a command in the system; what it starts and mounts ends with it."""
    environment = {name: value for name, value in os.environ.items() if not OTHER_MACHINE.match(name)}
    environment |= {
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "PIP_NO_CACHE_DIR": "1",
    }
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", MOUNTED, str(folder)]
    return subprocess.run(
        [*apart, "env", f"--chdir={where}", *command],
        env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def counts(log: str) -> list[str]:
    """The closing line of each run of pytest in a log, without its seconds."""
    return re.findall(r"^(\d+ (?:passed|failed|error)[^\n]*?) in [\d.]+s", log, re.M)


def reported(folder: Path, python: str, code: str) -> list[str]:
    """The three versions that a Python in the system prints; dashes where the tests ended before it was set up."""
    ended = inside(folder, "/root/geoaware", python, "-c", code)
    return ended.stdout.split()[-3:] if ended.returncode == 0 else ["-"] * 3


def test(system: str, folder: Path) -> dict[str, str]:
    """Run ``make test`` in the built system; the columns of its row."""
    log = folder.with_suffix(".log")
    began = time.monotonic()
    with log.open("w") as file:
        failed = inside(folder, "/root/geoaware", "make", "test", log=file.fileno()).returncode
    seconds = time.monotonic() - began
    versions = [*reported(folder, ".venv/bin/python", VERSIONS), *reported(folder, "/usr/bin/python3", QGIS_VERSIONS)]
    core, qgis = (counts(log.read_text()) + ["not run", "not run"])[:2]
    titles = ("Python", "torchgeo", "rasterio", "QGIS", "GDAL", "Qt")
    return {
        "System": SYSTEMS[system],
        **dict(zip(titles, versions, strict=True)),
        "Core tests": core,
        "QGIS tests": qgis,
        "Seconds": f"{seconds:.0f}" + (", failed" if failed else ""),
    }


def with_row(page: str, row: dict[str, str]) -> str:
    """The page with the row of a system in its table, in place of an older one."""
    lines = page.splitlines()
    line = "| " + " | ".join(row.values()) + " |"
    header = lines.index("| " + " | ".join(row) + " |")
    end = next((at for at in range(header, len(lines)) if not lines[at].startswith("|")), len(lines))
    old = [at for at in range(header + 2, end) if lines[at].startswith(f"| {row['System']} |")]
    lines[old[0] if old else end : old[0] + 1 if old else end] = [line]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"{', '.join(SYSTEMS)} (default: all)")
    systems = parser.parse_args().systems or list(SYSTEMS)
    unknown = set(systems) - set(SYSTEMS)
    if unknown:
        parser.error(f"unknown system {', '.join(sorted(unknown))}: choose from {', '.join(SYSTEMS)}")
    if os.geteuid() or not shutil.which("mmdebstrap"):
        parser.error("needs root and mmdebstrap: as root, apt-get install mmdebstrap")
    failed = []
    for system in systems:
        folder = WORK / system
        print(
            f"{SYSTEMS[system]}: building it in {folder} and running 'make test' there, on the last commit.", flush=True
        )
        print(f"This takes up to an hour and 15 GB; its output goes to {folder.with_suffix('.log')}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        build(system, folder)
        row = test(system, folder)
        PAGE.write_text(with_row(PAGE.read_text(), row))
        print(", ".join(f"{title} {value}" for title, value in row.items()), flush=True)
        if row["Seconds"].endswith("failed"):
            failed.append(system)
            print(f"failed; the folder is kept: {folder}", flush=True)
        else:
            shutil.rmtree(folder)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
