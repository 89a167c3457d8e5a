"""How a class raster looks: QGIS style and GDAL's own category names, as texts for the host to write."""

from __future__ import annotations

import json
from typing import Dict, Tuple
from xml.etree import ElementTree  # nosec B405: only builds trees, nothing is parsed

from ..model.card import LandClass

CLASSES_PROPERTY = "geoaware/classes"  # of a QGIS layer: JSON, class value to name; the plugin's map tips read it

_VEIL = "#404040"
_VEIL_ALPHA = (
    (0, 205),
    (50, 130),
    (90, 0),
    (100, 0),
)  # per cent of confidence; never so dense that the class is hidden

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def qml(classes: Tuple[LandClass, ...]) -> str:
    """Style of QGIS 3.22 or newer: the class band in the legend's colours, class names as map tips."""
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
    ElementTree.SubElement(root, "mapTip").text = map_tip({entry.value: entry.name for entry in classes})
    return _DOCTYPE + ElementTree.tostring(root, "unicode")


def confidence_qml() -> str:
    """Style of QGIS 3.22 or newer for per cent: a veil over the map, grey where unsure, nothing where certain."""
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
    for value, alpha in _VEIL_ALPHA:
        ElementTree.SubElement(shader, "item", value=str(value), label=f"{value} %", color=_VEIL, alpha=str(alpha))
    return _DOCTYPE + ElementTree.tostring(root, "unicode")


def map_tip(names: Dict[int, str]) -> str:
    """HTML with a QGIS expression that turns the class number under the cursor into its name."""
    cases = " ".join(f"WHEN {value} THEN '{_quoted(name)}'" for value, name in names.items())
    under = "raster_value(@layer_id, 1, @layer_cursor_point)"
    return f"<b>[% CASE {under} {cases} ELSE 'no data' END %]</b>"


def _quoted(name: str) -> str:
    return name.replace("'", "''").replace("<", "").replace(">", "")


def pam_xml(classes: Tuple[LandClass, ...], band_count: int) -> str:
    """GDAL's ``.aux.xml``: category names and colours of band 1, names of the bands."""
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
    if band_count > 1:
        second = ElementTree.SubElement(root, "PAMRasterBand", band="2")
        ElementTree.SubElement(second, "Description").text = "confidence, per cent"
    return ElementTree.tostring(root, "unicode")
