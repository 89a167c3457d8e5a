"""Shows a model card: classes with colours, required input, origin."""

import html

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QTextOption
from qgis.PyQt.QtWidgets import QTextBrowser

from ...algorithms.model_info import facts_of
from ...texts import tr
from .models import Entry

_COLUMNS = 2  # of the legend


class CardView(QTextBrowser):
    """The card of one model, or why the model is refused."""

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)

    def show_entry(self, entry: Entry) -> None:
        """Show the card of an entry."""
        self.setHtml(card_page(entry))


def card_page(entry: Entry) -> str:
    """The card as HTML for Qt's text widgets."""
    if entry.card is None:
        return f"<h3>{_safe(entry.title)}</h3><p>{_safe(entry.fault)}</p>"
    facts = facts_of(str(entry.path), entry.card)
    for shown_above in (tr("Model"), tr("Classes")):
        facts.pop(shown_above)
    rows = "".join(f"<tr><td><b>{_safe(name)}</b></td><td>{_safe(text)}</td></tr>" for name, text in facts.items())
    return f"<h3>{_safe(entry.title)}</h3>{_legend(entry)}<p></p><table cellspacing='0' cellpadding='3'>{rows}</table>"


def _legend(entry: Entry) -> str:
    classes = entry.card.classes
    if not classes:
        return ""
    cells = [
        f"<td bgcolor='#{one.color}' width='24'>&nbsp;</td><td style='padding-left: 6px'>{_safe(one.name)}</td>"
        for one in classes
    ]
    down = -(-len(cells) // _COLUMNS)
    rows = ["<tr>" + "".join(cells[start::down]) + "</tr>" for start in range(down)]
    return f"<table width='100%' cellspacing='2' cellpadding='1'>{''.join(rows)}</table>"


def _safe(text: str) -> str:
    return html.escape(text, quote=False)
