"""Is the distance of features a change detector? Planted changes on repeated Landsat imagery."""
