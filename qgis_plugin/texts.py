"""Translation of the plugin's strings."""

import re

from qgis.PyQt.QtCore import QCoreApplication


def tr(message: str) -> str:
    """The message in the user's language, in English where there is no translation."""
    return QCoreApplication.translate("GeoAware", message)


def in_our_words(sentence: str) -> str:
    """A sentence that names options of the command line, with the names of our own parameters."""
    names = {
        "--bands": tr("Bands"), "--input": tr("Values"), "--offset": tr("Offset"), "--nodata": tr("No-data value"),
        "--bounds": tr("Extent"), "--field": tr("Field with the true class"),
    }  # fmt: skip
    return re.sub("|".join(names), lambda option: f"'{names[option[0]]}'", sentence)
