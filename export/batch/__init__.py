"""Many rasters, by many processes or machines: what is to be done, what is done, and who does it."""
