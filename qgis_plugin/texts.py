"""Translation of the plugin's strings."""

from qgis.PyQt.QtCore import QCoreApplication


def tr(message: str) -> str:
    """The message in the user's language, in English where there is no translation."""
    return QCoreApplication.translate("GeoAware", message)
