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

# what the runtime says before or instead of a run
COMMON = (
    "its pixels are {pixel} m, the model learned from {model} m: resampled on the way in",
    "its pixels are {pixel} m, the model learned from {model} m: fed as they are",
    "areas are measured in its projection, which shows {times} times the true area at its middle",
    "{share} of it is {value} in every band and no nodata value is declared: if that is empty, give --nodata {same}",
    "its values reach {most}, the model learned from {low} to {high} ({unit}): taken as they are; see --input",
    "its values reach {most}, the model learned from {low} to {high} ({unit}): taken as they are",
    "its values go down to {least}, the model learned from {low} to {high} ({unit}): taken as they are",
    "its values reach {most}: taken for Sentinel-2 bands as delivered; if they are not, see --input",
    "taken for Sentinel-2's true colour by its name; if it is not, see --input",
    "read as {kind}, true colour",
    "read as {kind}, offset {offset} (as stated)",
    "read as {kind}, offset {offset} (processing baseline {baseline})",
    "read as {kind}, offset {offset} (no baseline found: taken for 04.00 or later; --offset 0 for older scenes)",
    "read as {kind}, offset {offset} (no baseline found, but dark pixels hold {number}: nothing was added to them)",
    "has {count} bands, none of them named as the model's ({wanted}): the first are taken, see --bands",
    "has {count} bands, but the model needs {needed} ({wanted})",
    "its bands are {own}, the model's {wanted}; they are taken in their order, see --bands",
    "no such file",
    "not an ONNX file, or a damaged one ({error})",
    "refused, its weights lie in another file; export it as one file",
    "refused, it needs operators of the domain '{domain}', which this runtime does not trust",
)
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
    """A sentence of the runtime, which speaks English and names options of a shell: with our own parameters' names."""
    names = {
        "--bands": tr("Bands"), "--input": tr("Values"), "--offset": tr("Offset"), "--nodata": tr("No-data value"),
        "--bounds": tr("Extent"), "--field": tr("Field with the true class"),
    }  # fmt: skip
    return re.sub("|".join(names), lambda option: f"'{names[option[0]]}'", _translated(sentence))


def _translated(sentence: str) -> str:
    """With what it is about left as it is; in English where it is none of the common ones."""
    for english in COMMON:
        found = re.search(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(english)) + r"(?=$|; choose)", sentence)
        if found:
            own = catalogue(language()).get(english, english).format(**found.groupdict())
            return sentence[: found.start()] + own + sentence[found.end() :]
    return sentence
