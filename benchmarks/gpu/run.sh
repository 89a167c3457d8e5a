#!/usr/bin/env bash
# Everything that is to be proven on a GPU, in at most nine minutes: bash benchmarks/gpu/run.sh OUT [--stage FOLDER] [--small] ...
# FOLDER is what `python -m benchmarks.gpu.stage FOLDER` made; its wheels are installed where this Python lacks their packages.
# Further options: python -m benchmarks.gpu --help. PYTHON=... chooses another Python; ONNXRUNTIME_CUDA=FOLDER holds the parts
# that `python -m benchmarks.gpu.stage FOLDER --onnxruntime-cuda VERSION` made.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
python=${PYTHON:-python3}
"$python" -c 'import sys; print("Python", sys.version)' || exit 2
stage=""
given=("$@")
for ((i = 0; i < $#; i++)); do
  [ "${given[i]}" = --stage ] && stage=${given[i + 1]:-}
done
if [ -n "$stage" ] && [ -f "$stage/wheels/names.txt" ]; then
  site=$(mktemp -d)
  missing=$("$python" - "$stage/wheels/names.txt" <<'PY'
import importlib.metadata, sys
for name in open(sys.argv[1]).read().split():
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        print(name)
PY
  )
  echo "installing" $missing
  if [ -n "$missing" ]; then
    timeout 25 "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
      --find-links "$stage/wheels" --target "$site" $missing || echo "not all wheels could be installed"
  fi
fi
if [ -n "${ONNXRUNTIME_CUDA:-}" ]; then  # before the Python's own onnxruntime
  site=${site:-$(mktemp -d)}
  unpack='import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode="r|xz").extractall(sys.argv[1], filter="data")'
  cat "$ONNXRUNTIME_CUDA"/* | timeout 25 "$python" -c "$unpack" "$site" || echo "the parts of onnxruntime could not be joined"
fi
[ -n "${site:-}" ] && export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1
"$python" -m benchmarks.gpu "$@"
