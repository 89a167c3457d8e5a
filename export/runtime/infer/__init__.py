"""Runs a model over a raster: layout, tiles, blending, scenes, objects."""
