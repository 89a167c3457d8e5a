#!/usr/bin/env bash
# One would guess: onnxruntime on Linux keeps no record of who runs it; its page on privacy has named Windows alone for years. If it does,
# the function that its documentation gives for it, disable_telemetry_events(), turns it off before anything happened.
# What happens (onnxruntime 1.29.0 to 1.32.0, Linux packages from PyPI; not yet 1.28.0): the import makes an id of this computer and a
# database of events in the user's cache folder, before any function can be called; the function that turns it off leaves both. Only the variable
# ORT_DISABLE_TELEMETRY, set before the import, keeps them from being made (or CI, which hides it from whoever looks for it there).
# Who meets it: desktop programs with plugins (QGIS), where whoever imports onnxruntime first decides for all others, and offices
# that promise that nothing about their maps leaves the house. Programs that pin no version got it with an update.
# Nothing is sent when this runs: home and cache folder are temporary ones, no model is opened, and the proxy is not there.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > probe.py <<'PY'
import pathlib
import sys

import onnxruntime

if "switch" in sys.argv[1]:
    onnxruntime.disable_telemetry_events()
cache = pathlib.Path.home() / "cache"
made = sorted(path.name for path in cache.rglob("*") if path.is_file())
print(f"{onnxruntime.__version__}, {sys.argv[1]}: files in the cache folder: {', '.join(made) or 'none'}")
assert ("deviceid" in made and "onnxruntime.db" in made) == (sys.argv[2] == "made")
PY
python3 -m venv venv
nowhere=http://127.0.0.1:9
unset CI GITHUB_ACTIONS TF_BUILD ORT_DISABLE_TELEMETRY 2>/dev/null || true
one() {
  mkdir -p "home-$1/cache"
  env HOME="$work/home-$1" XDG_CACHE_HOME="$work/home-$1/cache" https_proxy=$nowhere http_proxy=$nowhere "${@:4}" venv/bin/python probe.py "$2" "$3"
}
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "onnxruntime==$1" "numpy==2.4.6"; }
install 1.28.0
one 1 "imported" none
install 1.29.0
one 2 "imported" made
install 1.32.0
one 3 "imported" made
one 4 "its switch called" made
one 5 "in CI" none CI=true
one 6 "ORT_DISABLE_TELEMETRY set before" none ORT_DISABLE_TELEMETRY=1
