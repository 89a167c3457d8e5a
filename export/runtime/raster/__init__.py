"""Geometry and arithmetic of rasters: windows, lattices, bands, patches. numpy only."""
