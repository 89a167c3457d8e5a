"""The panel *GeoAware: label a sample*: shows the points of a sample one after the other and takes their classes."""
