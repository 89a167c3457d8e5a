"""Installs onnxruntime after a click."""
