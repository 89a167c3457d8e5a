"""Maps of many or large rasters, by several processes or machines, resumable."""
