"""Translation of the plugin's strings and of the runtime's messages.

The translations are Qt's own ``.ts`` files, read as they are: their compiled form is binary, and nothing binary goes
into the plugin.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, Union

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QLocale
from qgis.PyQt.QtXml import QDomDocument

from .runtime.amounts import duration_text, size_text
from .runtime.errors import RuntimeFault
from .runtime.messages import MESSAGES, Message, Words

FOLDER = Path(__file__).resolve().parent / "i18n"


def language() -> str:
    """Two letters: that of QGIS."""
    return (QgsApplication.locale() or "en")[:2]


def tr(message: str) -> str:
    """The message in the user's language, in English where there is no translation."""
    return catalogue(language()).get(message, message)


@lru_cache(maxsize=2)
def catalogue(code: str) -> dict[str, str]:
    """English messages and their translations; empty where there are none."""
    path, document = FOLDER / f"geoaware_{code}.ts", QDomDocument()
    if path.is_file():
        document.setContent(path.read_text("utf-8"))
    messages = document.elementsByTagName("message")
    rows = [messages.at(row) for row in range(messages.count())]
    texts = {row.firstChildElement("source").text(): row.firstChildElement("translation").text() for row in rows}
    return {source: text for source, text in texts.items() if text}


def number(value: Union[int, float], spec: str = "") -> str:
    """A number formatted by Python's rules, with the decimal point and the group separator of QGIS's language."""
    return _localised(format(value, spec))


def size(count: float) -> str:
    """Bytes for people."""
    return _localised(size_text(count))


def duration(seconds: float) -> str:
    """Seconds for people."""
    return _localised(duration_text(seconds))


def _localised(text: str) -> str:
    locale = QLocale(language())
    return text.translate({ord("."): str(locale.decimalPoint()), ord(","): str(locale.groupSeparator())})


def words(what: Union[RuntimeFault, Message]) -> str:
    """An error or a note of the runtime in the user's language, with the parameter that helps."""
    return _OWN.message(what.message if isinstance(what, RuntimeFault) else what)


class _Own(Words):
    def sentence(self, kind: str) -> str:
        """The sentence of a kind, translated."""
        return catalogue(language()).get(MESSAGES[kind], MESSAGES[kind])

    def format_field(self, value: Any, format_spec: str) -> str:
        """Numbers as the language writes them."""
        text = super().format_field(value, format_spec)
        return _localised(text) if isinstance(value, (int, float)) else text

    def message(self, message: Message) -> str:
        """The sentence and its remedy."""
        remedy, parameter = _remedies().get(message.kind, ("", ""))
        return super().message(message) + self.vformat(remedy, (), {**message.fields, "parameter": parameter})


_OWN = _Own()


def _remedies() -> dict[str, tuple[str, str]]:
    """What follows a sentence, by its kind, and the parameter that it names."""
    see, bands, values = tr("; see '{parameter}'"), tr("Bands"), tr("Values")
    onefile = tr(" outside QGIS, with GeoAware's 'python -m export.to_onnx --onefile {where}'")
    return {
        "external_weights": (onefile, ""),
        "bands_given": (see, bands),
        "no_such_band": (see, bands),
        "bands_in_order": (see, bands),
        "first_bands": (see, bands),
        "bands_unnamed": (see, bands),
        "bands_by_number": (see, bands),
        "bands_by_wavelength": (see, bands),
        "bands_by_rest": (see, bands),
        "bands_ambiguous": (see, bands),
        "band_twice": (see, bands),
        "other_bands": (see, bands),
        "bounds_apart": (see, tr("Extent")),
        "bounds_outside": (see, tr("Extent")),
        "fixed_overlap": (see, tr("Tile overlap")),
        "too_wide": (tr(", with smaller extents"), ""),
        "overwrites_input": (tr("; choose another file"), ""),
        "offset_not_added": (see, values),
        "no_unit": (tr("; set '{parameter}' to raw"), values),
        "no_nodata": (tr("; if that is empty, set '{parameter}' to {value:g}"), tr("No-data value")),
        "nodata_in_some": (see, tr("No-data rule")),
        "values_maybe_sentinel2": (see, values),
        "taken_for_sentinel2": (tr("; if they are not, see '{parameter}'"), values),
        "taken_for_true_colour": (tr("; if it is not, see '{parameter}'"), values),
        "offsets_differ": (see, tr("Offset")),
        "offset_assumed": (tr("; '{parameter}' 0 for older scenes"), tr("Offset")),
        "bounds_order": (see, tr("Extent")),
        "not_a_sample": (tr("; choose its '{parameter}'"), tr("Map of classes")),
        "sample_holds_answers": (tr("; choose another file"), ""),
        "no_attribute": (tr("; name it in '{parameter}'"), tr("Field with the class")),
    }
