"""Rasters as a run takes them: several dates on one grid, bands and masks chosen."""
