# Everything runs from this folder. Override with e.g. `make PYTHON=python3.12 quickstart`.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# Folder with EuroSAT RGB (one tar and its split files), for the starter models.
EUROSAT ?=
# More options of the learning benchmark, e.g. LEARNING='--eurosat DIR --peru DIR --seeds 3'.
LEARNING ?=
# Of bookworm, trixie and testing, those that test-systems builds; empty: all.
SYSTEMS ?=
QGIS_PYTHON ?= /usr/bin/python3
QGIS_VENV := .venv-qgis
QGIS_RUN := $(QGIS_VENV)/bin/python
TEST_RUN := build/test-quickstart
DEEPNESS := build/deepness

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-core test-qgis test-systems lint plugin starter-models benchmark benchmark-learning benchmark-training reliability clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

setup: $(VENV)/.done  ## create .venv with all packages (about 6 GB, two minutes)

$(VENV)/.done: pyproject.toml constraints.txt
	@echo "setting up $(VENV): this takes a few minutes once"
	@$(PYTHON) -c 'import sys; sys.exit("GeoAware needs Python 3.11 or newer, $(PYTHON) is older: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing python3-venv from the system's packages, to make $(VENV)"; \
	    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; \
	  else \
	    echo "the venv module is missing: on Debian or Ubuntu, apt-get install python3-venv"; exit 1; \
	  fi; }
	@$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,dev]'
	@touch $@

quickstart: setup  ## pretrain, evaluate, export and map real imagery (about five minutes); writes outputs/quickstart
	$(RUN) -m core.train quickstart

test: setup  ## run all tests; installs QGIS from the system's packages if possible
	@$(MAKE) --no-print-directory test-core
	@$(MAKE) --no-print-directory test-qgis

# One single-threaded process per core: training runs that share cores wait for each other's threads.
test-core: setup $(DEEPNESS)/.done  ## run the tests that need no QGIS
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --maxprocesses 4 --dist loadfile tests

# The onnxruntime version that the QGIS plugin Deepness pins: a test runs our exports in it.
$(DEEPNESS)/.done: | $(VENV)/.done
	@$(RUN) -m pip install --quiet --disable-pip-version-check --retries 0 --no-deps --only-binary :all: --upgrade \
	  --target $(DEEPNESS) 'onnxruntime==1.17.0' 'numpy<2' && touch $@ \
	  || echo "onnxruntime 1.17.0 is not available on this machine: the tests with Deepness are skipped"

test-qgis: setup  ## run the plugin's tests in a real QGIS
	@sh tests/qgis/setup.sh $(QGIS_PYTHON) $(QGIS_VENV)
	@if [ -x $(QGIS_RUN) ]; then \
	  QT_QPA_PLATFORM=offscreen GEOAWARE_TEST_MODEL=$(TEST_RUN)/landcover.onnx GEOAWARE_TEST_RASTER=$(TEST_RUN)/europe.tif \
	    GEOAWARE_TEST_PYTHON=$(abspath $(RUN)) \
	    $(QGIS_RUN) -m pytest tests/qgis; \
	else \
	  $(RUN) -m pytest tests/qgis; \
	fi

test-systems:  ## all tests on fresh Debian 12, 13 and testing, or SYSTEMS=trixie (root, up to an hour each); writes docs/systems.md
	@$(PYTHON) -m tests.systems $(SYSTEMS)

lint: setup  ## run ruff, mypy and import-linter
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports --no-logo --no-cache

plugin: setup  ## build dist/geoaware-<version>.zip for QGIS
	$(RUN) -m export.plugin

starter-models: setup  ## train the models in models/ from EUROSAT=folder and the quickstart's sample (90 minutes; resumes)
	$(RUN) -m benchmarks.starter $(if $(EUROSAT),--eurosat '$(EUROSAT)')

benchmark: setup  ## measure speed and memory of prediction; writes docs/benchmarks/inference.md
	$(RUN) -m benchmarks.inference --peers

benchmark-learning: setup  ## measure what pretraining gains on real imagery (hours; resumes); writes docs/benchmarks/learning.md
	$(RUN) -m benchmarks.learning $(LEARNING)

benchmark-training: setup  ## compare the speed of pretraining with torchgeo and lightly; writes docs/benchmarks/training.md
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[benchmark]'
	$(RUN) -m benchmarks.training

reliability: setup  ## test kills, full disks, corrupt rasters and untrusted models (ten minutes); writes docs/reliability.md
	$(RUN) -m benchmarks.reliability

clean:  ## remove build outputs, not the environments
	rm -rf build dist outputs .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
