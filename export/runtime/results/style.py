"""Styles of results: QGIS style and GDAL's category names and attribute table of rasters, and styles in GeoPackages."""

from __future__ import annotations

import html
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring  # nosec B405: only builds trees, nothing is parsed

from ..errors import InputFault
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

# The table of a GeoPackage as QGIS itself makes it.
_STYLES = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
  f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN,
  description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))
)"""


def qml(classes: tuple[LandClass, ...], confidence: str = "", dates: str = "") -> str:
    """Style of a class raster for QGIS 3.22 or newer: colours of the legend, class and confidence as map tip.

    ``confidence`` and ``dates`` are the names that these layers get in QGIS; empty where there is none.
    """
    root = Element("qgis", version="3.22.0", styleCategories="Symbology|MapTips|CustomProperties")
    properties = SubElement(SubElement(root, "customproperties"), "Option", type="Map")
    names = {entry.value: entry.name for entry in classes}
    SubElement(properties, "Option", name=CLASSES_PROPERTY, type="QString", value=json.dumps(names))
    drawn = {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    palette = SubElement(SubElement(SubElement(root, "pipe"), "rasterrenderer", drawn), "colorPalette")
    for entry in classes:
        color = f"#{entry.color.lower()}"
        SubElement(palette, "paletteEntry", value=str(entry.value), color=color, label=entry.name, alpha="255")
    SubElement(root, "mapTip").text = map_tip(names, confidence, dates)
    return _document(root)


def confidence_qml() -> str:
    """Style of the confidence: a layer over the map, grey at low and clear at high confidence."""
    return ramp_qml([(value, f"{value} %", _GREY, alpha) for value, alpha in _ALPHA])


def ramp_qml(stops: Sequence[tuple[float, str, str, int]]) -> str:
    """Style of a raster of numbers for QGIS 3.22 or newer, from rising values, their labels, colours and how opaque they are."""
    root = Element("qgis", version="3.22.0", styleCategories="Symbology")
    least, most = f"{stops[0][0]:.10g}", f"{stops[-1][0]:.10g}"
    drawn = {"type": "singlebandpseudocolor", "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    drawn.update(classificationMin=least, classificationMax=most)
    renderer = SubElement(SubElement(root, "pipe"), "rasterrenderer", drawn)
    ramp = {"colorRampType": "INTERPOLATED", "classificationMode": "1", "minimumValue": least, "maximumValue": most}
    shader = SubElement(SubElement(renderer, "rastershader"), "colorrampshader", ramp, clip="0")
    for value, label, color, alpha in stops:
        SubElement(shader, "item", value=f"{value:.10g}", label=label, color=color, alpha=str(alpha))
    return _document(root)


def _document(root: Element) -> str:
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + tostring(root, "unicode")


def map_tip(names: dict[int, str], confidence: str = "", dates: str = "", word: str = "dates") -> str:
    """HTML template of QGIS: class under the cursor, its confidence and of how many dates; empty where there is no data.

    ``confidence`` and ``dates`` are the ids or names of these layers; empty where there is none. ``word`` stands before the
    number of dates.
    """
    cases = " ".join(f"WHEN @class = {value} THEN '{_escaped(name)}'" for value, name in names.items())
    sampled = "raster_value({}, 1, @layer_cursor_point)"
    shown = f"CASE {cases} END"
    if confidence:
        percent = f"try({sampled.format(_literal(confidence))})"  # the layer may have been removed
        shown += f" || coalesce(' (' || round({percent}) || ' %)', '')"
    if dates:
        count = f"try({sampled.format(_literal(dates))})"
        shown += f" || coalesce(', {_escaped(word)}: ' || {count}, '')"
    return f"[% with_variable('class', {sampled.format('@layer_id')}, coalesce({shown}, '')) %]"


def _escaped(name: str) -> str:
    """A name as HTML; the characters that have a meaning in the expression around it are escaped too."""
    return html.escape(name).replace("\\", "&#92;").replace("%", "&#37;")


def _literal(text: str) -> str:
    """A text as a string of QGIS's expressions; ``%`` would end the expression where ``]`` follows."""
    parts = text.replace("\\", "\\\\").replace("'", "''").split("%")
    return " || char(37) || ".join(f"'{part}'" for part in parts)


def pam_xml(classes: tuple[LandClass, ...], areas: Sequence[ClassArea], wkt: str) -> str:
    """GDAL's ``.aux.xml`` of a raster: its CRS, where given, and of classes the names, colours and attribute table."""
    root = Element("PAMDataset")
    if wkt:
        SubElement(root, "SRS").text = wkt
    if not classes:
        return tostring(root, "unicode")
    band = SubElement(root, "PAMRasterBand", band="1")
    SubElement(band, "Description").text = "land cover"
    by_value = {entry.value: entry for entry in classes}
    names, colors = SubElement(band, "CategoryNames"), SubElement(band, "ColorTable")
    for value in range(max(by_value) + 1):
        entry = by_value.get(value)
        SubElement(names, "Category").text = entry.name if entry else ""
        red, green, blue = entry.rgb if entry else (0, 0, 0)
        SubElement(colors, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4="255" if entry else "0")
    band.append(attribute_table(classes, areas))
    return tostring(root, "unicode")


def attribute_table(classes: tuple[LandClass, ...], areas: Sequence[ClassArea]) -> Element:
    """GDAL's raster attribute table of a class raster, for its ``.aux.xml`` or VRT."""
    by_value = {entry.value: entry for entry in classes}
    table = Element("GDALRasterAttributeTable", tableType="thematic")
    for number, (name, kind, usage) in enumerate(_COLUMNS):
        column = SubElement(table, "FieldDefn", index=str(number))
        for tag, text in (("Name", name), ("Type", str(kind)), ("Usage", str(usage))):
            SubElement(column, tag).text = text
    for number, area in enumerate(areas):
        row = SubElement(table, "Row", index=str(number))
        entry = by_value[area.value]
        for cell in (area.value, area.pixels, entry.name, *entry.rgb, f"{area.m2 / 10_000:.4f}"):
            SubElement(row, "F").text = str(cell)
    return table


def add_style(path: Path, layer: str, classes: tuple[LandClass, ...], outlines: bool = False) -> None:
    """Write the legend as the default style of a layer of polygons with a field ``class``; filled, or as outlines.

    Without it QGIS would take ``NAME.qml``, which is the style of the raster of that name. Raises InputFault if it cannot be written.
    """
    try:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(_STYLES)
            database.execute(
                "INSERT INTO gpkg_contents (table_name, data_type, identifier) "
                "VALUES ('layer_styles', 'attributes', 'layer_styles')"
            )
            database.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, "
                "styleQML, useAsDefault) SELECT '', '', table_name, column_name, 'classes', ?, 1 "
                "FROM gpkg_geometry_columns WHERE table_name = ?",
                (_polygon_qml(classes, outlines), layer),
            )
    except sqlite3.Error as error:
        raise InputFault("write_failed", where=path.name, reason=str(error)) from error


def _polygon_qml(classes: tuple[LandClass, ...], outlines: bool) -> str:
    root = Element("qgis", version="3.22.0", styleCategories="Symbology")
    drawn = {"type": "categorizedSymbol", "attr": "class", "symbollevels": "0", "enableorderby": "0"}
    renderer = SubElement(root, "renderer-v2", drawn)
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for number, entry in enumerate(classes):
        category = {"symbol": str(number), "value": str(entry.value), "label": entry.name}
        SubElement(categories, "category", category, render="true", type="long")
        symbol = SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1")
        fill = SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1"})
        color = ",".join(map(str, (*entry.rgb, 255)))
        border = {"style": "no", "outline_color": color, "outline_width": "0.5"} if outlines else {"style": "solid"}
        for key, value in {"color": color, **border, "outline_style": "solid" if outlines else "no"}.items():
            SubElement(fill, "prop", k=key, v=value)
    return _document(root)
