"""Shapes on a raster: outlines, polygons, patches of equal pixels."""
