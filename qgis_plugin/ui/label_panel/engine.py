"""What the panel asks of the engine that computes features and repaints the map; this one does nothing.

All calls are made on the main thread and return at once; all signals are emitted on it.
"""

from qgis.PyQt.QtCore import QObject, pyqtSignal


class Engine(QObject):
    """Features of one layer, the head fitted to its labels, and the layers that show them."""

    progressed = pyqtSignal(int, int)  # tiles whose features are ready, of so many
    painted = pyqtSignal()  # the map of the view was repainted
    state = pyqtSignal(str)  # what is being done
    problem = pyqtSignal(str)  # one sentence; empty: the last one no longer holds
    read = pyqtSignal(str)  # class and confidence under the cursor
    cache_changed = pyqtSignal()

    def __init__(self, canvas, parent=None) -> None:
        super().__init__(parent)

    def open(self, layer, choice, folder) -> None:
        """Compute features (a ``FeatureChoice``) of a raster layer, the view first; ``folder`` is for the cache."""

    def set_classes(self, classes) -> None:
        """The classes, a ``ClassEntry`` each; those without labels too."""

    def set_labels(self, marks, crs) -> None:
        """Fit anew and repaint; ``marks`` are (number, index of the class, ``QgsGeometry`` in ``crs``)."""

    def set_shown(self, name: str, shown: bool) -> None:
        """Show or hide "classes", "confidence" or "unlike"."""

    def cache_bytes(self) -> int:
        """Size of the cache of this layer on disk."""
        return 0

    def delete_cache(self) -> None:
        """Delete the cache of this layer; what is shown stays."""

    def close(self) -> None:
        """Let go of the layer, cancel what runs; returns at once."""

    def finish(self) -> None:
        """Close and wait for the workers; called when the plugin is unloaded."""
