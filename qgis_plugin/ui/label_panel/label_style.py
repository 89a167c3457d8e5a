"""How labels are drawn: in the colours of their classes, see-through, so that the image stays visible."""

from typing import Any

from qgis.core import QgsCategorizedSymbolRenderer, QgsFillSymbol, QgsRendererCategory


def show_classes(layer, classes) -> None:
    """Style a label layer by its field ``class``."""
    categories = [QgsRendererCategory(one.value, _symbol(one.color), one.name) for one in classes]
    layer.setRenderer(QgsCategorizedSymbolRenderer("class", categories))
    layer.triggerRepaint()
    layer.emitStyleChanged()


def _symbol(color: str) -> Any:
    red, green, blue = (int(color[at : at + 2], 16) for at in (0, 2, 4))
    return QgsFillSymbol.createSimple(
        {
            "color": f"{red},{green},{blue},70",
            "outline_color": f"{red},{green},{blue},255",
            "outline_width": "0.5",
            "joinstyle": "round",
        }
    )
