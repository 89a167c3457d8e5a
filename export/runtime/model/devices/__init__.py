"""Devices and libraries beside onnxruntime that run models, and how fast they were on this computer."""
