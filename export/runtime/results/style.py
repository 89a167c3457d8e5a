"""Style of a class raster: QGIS style and GDAL's category names and attribute table, as text."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from xml.etree import ElementTree  # nosec B405: only builds trees, nothing is parsed

from ..raster.legend import LandClass
from .areas import ClassArea

CLASSES_PROPERTY = "geoaware/classes"  # of a QGIS layer: JSON, class value to name; the plugin's map tips read it

# confidence in per cent, and how opaque the layer is drawn: never so opaque that it hides the class below
_ALPHA = ((0, 205), (50, 130), (90, 0), (100, 0))
_GREY = "#404040"

# columns of the attribute table: name, type and usage as GDAL numbers them (GDALRATFieldType, GDALRATFieldUsage)
_INTEGER, _REAL, _TEXT = 0, 1, 2
_COLUMNS = (
    ("value", _INTEGER, 5), ("count", _INTEGER, 1), ("class", _TEXT, 2), ("red", _INTEGER, 6), ("green", _INTEGER, 7),
    ("blue", _INTEGER, 8), ("area_ha", _REAL, 0),
)  # fmt: skip

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def qml(classes: tuple[LandClass, ...], confidence: str = "") -> str:
    """Style of a class raster for QGIS 3.22 or newer: colours of the legend, class and confidence as map tip.

    Args:
        classes: the legend.
        confidence: name that the confidence layer gets in QGIS; empty where there is none.
    """
    root = ElementTree.Element("qgis", version="3.22.0", styleCategories="Symbology|MapTips|CustomProperties")
    properties = ElementTree.SubElement(ElementTree.SubElement(root, "customproperties"), "Option", type="Map")
    names = json.dumps({entry.value: entry.name for entry in classes})
    ElementTree.SubElement(properties, "Option", name=CLASSES_PROPERTY, type="QString", value=names)
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for entry in classes:
        ElementTree.SubElement(
            palette,
            "paletteEntry",
            value=str(entry.value),
            color=f"#{entry.color.lower()}",
            label=entry.name,
            alpha="255",
        )
    tip = map_tip({entry.value: entry.name for entry in classes}, confidence)
    ElementTree.SubElement(root, "mapTip").text = tip
    return _DOCTYPE + ElementTree.tostring(root, "unicode")


def confidence_qml() -> str:
    """Style of the confidence for QGIS 3.22 or newer: a layer over the map, grey at low and clear at high confidence."""
    root = ElementTree.Element("qgis", version="3.22.0", styleCategories="Symbology")
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", type="singlebandpseudocolor", band="1", opacity="1", alphaBand="-1", nodataColor="",
        classificationMin="0", classificationMax="100",
    )  # fmt: skip
    shader = ElementTree.SubElement(ElementTree.SubElement(renderer, "rastershader"), "colorrampshader")
    shader.attrib.update(
        colorRampType="INTERPOLATED", classificationMode="1", minimumValue="0", maximumValue="100", clip="0"
    )
    for value, alpha in _ALPHA:
        ElementTree.SubElement(shader, "item", value=str(value), label=f"{value} %", color=_GREY, alpha=str(alpha))
    return _DOCTYPE + ElementTree.tostring(root, "unicode")


def map_tip(names: dict[int, str], confidence: str = "") -> str:
    """HTML template of QGIS: class under the cursor, and its confidence; empty where there is no data.

    Args:
        names: of the classes, by value.
        confidence: id or name of the confidence layer; empty where there is none.
    """
    cases = " ".join(f"WHEN @class = {value} THEN '{_escaped(name)}'" for value, name in names.items())
    sampled = "raster_value({}, 1, @layer_cursor_point)"
    shown = f"CASE {cases} END"
    if confidence:
        percent = f"try({sampled.format(_literal(confidence))})"  # the layer may have been removed
        shown += f" || coalesce(' (' || round({percent}) || ' %)', '')"
    return f"[% with_variable('class', {sampled.format('@layer_id')}, coalesce({shown}, '')) %]"


def _escaped(name: str) -> str:
    """A name as HTML; the characters that have a meaning in the expression around it are escaped too."""
    return html.escape(name).replace("\\", "&#92;").replace("%", "&#37;")


def _literal(text: str) -> str:
    """A text as a string of QGIS's expressions; ``%`` would end the expression where ``]`` follows."""
    parts = text.replace("\\", "\\\\").replace("'", "''").split("%")
    return " || char(37) || ".join(f"'{part}'" for part in parts)


def pam_xml(classes: tuple[LandClass, ...], areas: Sequence[ClassArea]) -> str:
    """GDAL's ``.aux.xml`` of a class raster: category names, colours and attribute table of band 1.

    Args:
        classes: the legend.
        areas: pixels and area of each class.
    """
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    ElementTree.SubElement(band, "Description").text = "land cover"
    by_value = {entry.value: entry for entry in classes}
    names = ElementTree.SubElement(band, "CategoryNames")
    colors = ElementTree.SubElement(band, "ColorTable")
    for value in range(max(by_value) + 1):
        entry = by_value.get(value)
        ElementTree.SubElement(names, "Category").text = entry.name if entry else ""
        red, green, blue = entry.rgb if entry else (0, 0, 0)
        ElementTree.SubElement(colors, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4="255" if entry else "0")
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for number, (name, kind, usage) in enumerate(_COLUMNS):
        column = ElementTree.SubElement(table, "FieldDefn", index=str(number))
        for tag, text in (("Name", name), ("Type", str(kind)), ("Usage", str(usage))):
            ElementTree.SubElement(column, tag).text = text
    for number, area in enumerate(areas):
        row = ElementTree.SubElement(table, "Row", index=str(number))
        entry = by_value[area.value]
        for cell in (area.value, area.pixels, entry.name, *entry.rgb, f"{area.m2 / 10_000:.4f}"):
            ElementTree.SubElement(row, "F").text = str(cell)
    return ElementTree.tostring(root, "unicode")
