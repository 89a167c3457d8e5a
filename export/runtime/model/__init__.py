"""One ONNX file: its card, the checks before it is opened, the session that runs it."""
