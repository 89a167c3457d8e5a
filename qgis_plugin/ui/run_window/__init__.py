"""The window in which a run is set up."""
