"""The inference runtime shared by batch inference and the QGIS plugin.

It knows model cards, tiles and blending; it knows nothing of raster files: the host passes
``read(window) -> (pixels, valid)`` and takes finished rows back. It needs numpy and onnxruntime only,
and its syntax is that of Python 3.9, so that an old QGIS can still say what is missing.
"""
