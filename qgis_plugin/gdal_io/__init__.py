"""The runtime's host in QGIS: reads layers and writes results, with GDAL and QGIS's data providers."""
