"""From a trained model to maps: ONNX export, batch inference and the QGIS plugin's zip."""
