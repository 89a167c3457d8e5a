"""Loads the results of a run into the project and reads them."""

from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsProcessingUtils, QgsProject
from qgis.gui import QgsGui

from ...runtime.results.areas import ClassArea
from .run_queue import Run


def remember(run: Run) -> None:
    """Add the run to Processing's history."""
    command = run.algorithm.asPythonCommand(run.parameters, run.context)
    if Qgis.versionInt() < 32400:
        from processing.core.ProcessingLog import ProcessingLog

        ProcessingLog.addToLog(command)
        return
    details = {
        "python_command": command,
        "algorithm_id": run.algorithm.id(),
        "parameters": run.algorithm.asMap(run.parameters, run.context),
    }
    process_command, complete = run.algorithm.asQgisProcessCommand(run.parameters, run.context)
    if complete:
        details["process_command"] = process_command  # its line in the history is empty without
    QgsGui.historyProviderRegistry().addEntry("processing", details)


def load(run: Run) -> None:
    """Load and group the results as Processing does; without effect if their project was closed."""
    if not run.project_open:
        return
    # here, since Processing is a plugin itself and may be loaded later than this module
    from processing.gui.Postprocessing import handleAlgorithmResults

    handleAlgorithmResults(run.algorithm, run.context, run.feedback, parameters=run.parameters)
    run.loaded = True


def files(run: Run) -> list[Path]:
    """Files that a run has written."""
    paths = [Path(value) for value in run.outputs.values() if isinstance(value, str) and value]
    return [path for path in paths if path.is_file()]


def layer_of(run: Run):
    """Layer of the main result; None if it is not in the project."""
    source = run.outputs.get("OUTPUT", "")
    for layer in QgsProject.instance().mapLayers().values():
        if layer.source().split("|")[0] == source:
            return layer
    return None


def areas(run: Run) -> list[ClassArea]:
    """Area of each class; empty if the result is not a map of classes."""
    table = run.outputs.get("AREAS")
    layer: Any = QgsProcessingUtils.mapLayerFromString(table, run.context) if table else None
    return [
        ClassArea(one["class"], one["name"], one["pixels"], one["hectares"] * 10_000, one["per_cent"])
        for one in (layer.getFeatures() if layer else ())
    ]
