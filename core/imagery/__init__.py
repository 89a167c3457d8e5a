"""Rasters, photographs, labels and their tables, as every source reads them."""
