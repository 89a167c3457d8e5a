#!/bin/sh
# Makes the environment of the plugin's tests: QGIS from the system's packages, onnxruntime beside it in a
# virtual environment, never in the system. Says what it does; where QGIS cannot be had, says so and leaves.
set -eu
python=$1
venv=$2

[ -f "$venv/.done" ] && "$venv/bin/python" -c 'import hypothesis, qgis.core' 2>/dev/null && exit 0

if ! "$python" -c 'import qgis.core' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing QGIS from the system's packages (apt-get install qgis python3-qgis), for the plugin's tests"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qgis python3-qgis python3-venv >/dev/null
  else
    echo "QGIS is not installed and cannot be installed from here: its tests will be skipped"
    exit 0
  fi
fi

echo "setting up $venv beside the system's QGIS"
numpy=$("$python" -c 'import numpy; print(numpy.__version__)')
"$python" -m venv --system-site-packages "$venv"
# GDAL's Python was compiled against the system's numpy, so that version stays; ml_dtypes (which onnx needs) asks
# for no numpy in its metadata, but from 0.6 on fails with one older than 1.25.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  "numpy==$numpy" 'onnxruntime>=1.24.1' 'openvino>=2025.4' 'onnx>=1.21' 'ml_dtypes<0.6' 'pytest>=8' 'pytest-qgis>=2' 'hypothesis>=6.100'
touch "$venv/.done"
