"""Processing algorithms, a module each; they run in the toolbox, in batch, in models and in qgis_process."""
