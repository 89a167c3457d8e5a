"""Maps from a few labels: features of a raster, a classifier on them, and how far it can be trusted. Pure numpy and onnxruntime."""
