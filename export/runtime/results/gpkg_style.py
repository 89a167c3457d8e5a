"""Gives the polygons in a GeoPackage the colours of the legend, where QGIS looks for them.

Without it QGIS would take ``NAME.qml``, which is the style of the raster of that name.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree  # nosec B405: only builds trees, nothing is parsed

from ..raster.legend import LandClass

# The table as QGIS itself makes it.
_TABLE = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
  f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN,
  description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))
)"""


def add_style(path: Path, layer: str, classes: tuple[LandClass, ...], outlines: bool = False) -> None:
    """Write the legend as the default style of a layer of polygons with a field ``class``; filled, or as outlines."""
    with closing(sqlite3.connect(path)) as database, database:
        (geometry,) = database.execute(
            "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
        ).fetchone()
        database.execute(_TABLE)
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', 'layer_styles')"
        )
        database.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, "
            "styleQML, useAsDefault) VALUES ('', '', ?, ?, 'classes', ?, 1)",
            (layer, geometry, _qml(classes, outlines)),
        )


def _qml(classes: tuple[LandClass, ...], outlines: bool) -> str:
    root = ElementTree.Element("qgis", version="3.22.0", styleCategories="Symbology")
    renderer = ElementTree.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr="class", symbollevels="0", enableorderby="0"
    )
    categories = ElementTree.SubElement(renderer, "categories")
    symbols = ElementTree.SubElement(renderer, "symbols")
    for number, entry in enumerate(classes):
        ElementTree.SubElement(
            categories,
            "category",
            symbol=str(number),
            value=str(entry.value),
            label=entry.name,
            render="true",
            type="long",
        )
        symbol = ElementTree.SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1")
        fill = ElementTree.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1"})
        color = ",".join(map(str, (*entry.rgb, 255)))
        drawn = {"style": "no", "outline_color": color, "outline_width": "0.5"} if outlines else {"style": "solid"}
        drawn["outline_style"] = "solid" if outlines else "no"
        for key, value in {"color": color, **drawn}.items():
            ElementTree.SubElement(fill, "prop", k=key, v=value)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ElementTree.tostring(root, "unicode")
