"""The windows: everything that runs a model from here does it through the Processing algorithms."""
