"""The runtime's host for batch inference: reads rasters, writes maps. Imports neither torch nor core."""
