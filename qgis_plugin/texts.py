"""Translation of the plugin's strings.

The translations are Qt's own ``.ts`` files, read as they are: their compiled form is binary, and nothing binary goes
into the plugin.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Dict

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QFile, QIODevice, QXmlStreamReader

FOLDER = Path(__file__).resolve().parent / "i18n"


def language() -> str:
    """Two letters: that of QGIS."""
    return (QgsApplication.locale() or "en")[:2]


def tr(message: str) -> str:
    """The message in the user's language, in English where there is no translation."""
    return catalogue(language()).get(message, message)


@lru_cache(maxsize=2)
def catalogue(code: str) -> Dict[str, str]:
    """English messages and their translations; empty where there are none."""
    file = QFile(str(FOLDER / f"geoaware_{code}.ts"))
    if not file.open(QIODevice.OpenModeFlag.ReadOnly):
        return {}
    reader, source, found = QXmlStreamReader(file), "", {}
    while not reader.atEnd():
        reader.readNext()
        if not reader.isStartElement():
            continue
        if reader.name() == "source":
            source = reader.readElementText()
        elif reader.name() == "translation":
            text = reader.readElementText()
            if text:
                found[source] = text
    file.close()
    return found


def in_our_words(sentence: str) -> str:
    """A sentence that names options of the command line, with the names of our own parameters."""
    names = {
        "--bands": tr("Bands"), "--input": tr("Values"), "--offset": tr("Offset"), "--nodata": tr("No-data value"),
        "--bounds": tr("Extent"), "--field": tr("Field with the true class"),
    }  # fmt: skip
    return re.sub("|".join(names), lambda option: f"'{names[option[0]]}'", sentence)
