"""From a trained model to maps: ONNX export, batch inference and the QGIS plugin's zip."""

from . import runtime as runtime  # first of all: it keeps onnxruntime, which others import too, from sending events
