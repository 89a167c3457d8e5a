"""The inference runtime shared by batch inference and the QGIS plugin.

It knows model cards, tiles and blending; it knows nothing of raster files: the host passes
``read(window) -> (pixels, valid)`` and takes finished rows back. It needs numpy and onnxruntime only,
and its syntax is that of Python 3.9, so that an old QGIS can still say what is missing.
"""

import os

# Set before onnxruntime is imported: from 1.29 on its import makes an id of this computer in the user's cache folder, and runs send
# events to Microsoft, on Linux and macOS too. Its function to turn that off comes after the import. A user's own value stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
