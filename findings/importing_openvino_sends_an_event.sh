#!/usr/bin/env bash
# One would guess: importing a library that runs models on this computer writes nothing into the home folder, starts no thread and talks to
# nobody; what is sent about its use, if anything, is asked for once (opt in), and concerns its command-line converter.
# What happens (openvino 2026.4.1 with openvino-telemetry 2025.2.0, which it requires): the first line, `import openvino`, imports the
# converter, which makes an id of this installation in ~/intel, and hands an event "import" to Google Analytics to a thread. Nobody is
# asked. In CI (with the variable CI set) nothing is made. Installed with --no-deps, as only numpy is needed, it makes nothing.
# Who meets it: whoever adds openvino as an optional backend to a desktop program (QGIS, napari, darktable) that promises that nothing
# leaves the computer, and offices whose firewalls report unknown traffic of a GIS.
# Nothing is sent when this runs: the home folder is a temporary one, and the event goes to a proxy that is not there.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "openvino==2026.4.1" "openvino-telemetry==2025.2.0" "numpy==2.4.6"
cat > probe.py <<'PY'
import pathlib
import sys
import threading
import time

begun = time.perf_counter()
import openvino

took = time.perf_counter() - begun
home = pathlib.Path.home()
made = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
threads = len(threading.enumerate()) - 1
print(f"{sys.argv[1]}: {openvino.__version__.split('-')[0]}, files in the home folder: {made or 'none'}, threads left: {threads}")
expected = {"as installed": True, "with CI set": False, "without its telemetry": False}[sys.argv[1]]
assert ("intel/openvino_ga_cid" in made) == expected
PY
export https_proxy=http://127.0.0.1:9 http_proxy=http://127.0.0.1:9
unset CI TF_BUILD JENKINS_URL 2>/dev/null || true
one() { mkdir "home-$1"; HOME="$work/home-$1" "${@:3}" venv/bin/python probe.py "$2"; }
one 1 "as installed" env
one 2 "with CI set" env CI=true
venv/bin/python -m pip uninstall --quiet --disable-pip-version-check --yes openvino-telemetry
one 3 "without its telemetry" env
