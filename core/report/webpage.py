"""Self-contained HTML pages: pictures are embedded, so that a page opens from disk."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1d2733}
h1{margin-bottom:0}h2{margin-top:2.5rem;border-bottom:1px solid #d5dbe1;padding-bottom:.3rem}
img{width:100%;height:auto}table{border-collapse:collapse;width:100%}
td,th{padding:.35rem .6rem;border-bottom:1px solid #e3e8ec;text-align:right}td:first-child,th:first-child{text-align:left}
pre{background:#f3f5f7;padding:1rem;overflow-x:auto;border-radius:6px;font-size:14px}
.big{display:flex;gap:1rem;flex-wrap:wrap;margin:1.2rem 0}.big div{flex:1;min-width:220px;background:#f3f5f7;border-radius:8px;padding:1rem}
.big b{display:block;font-size:1.9rem;color:#0b5d3b}small{color:#5b6875}
i.swatch{display:inline-block;width:.9em;height:.9em;border:1px solid #999}
"""


def webpage(title: str, body: list[str]) -> str:
    """A complete page."""
    head = f"<meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang=en>{head}<body>{''.join(body)}</body></html>"


def tile(value: float, text: str) -> str:
    """A percentage in large figures with its description."""
    return f"<div><b>{value:.1%}</b>{html.escape(text)}</div>"


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of HTML fragments."""
    lines = ["".join(f"<th>{cell}</th>" for cell in header)]
    lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def class_cell(name: str, colour: str) -> str:
    """The name of a class behind its colour, ``RRGGBB``."""
    return f'<i class="swatch" style="background:#{colour}"></i> {html.escape(name)}'


def curves(panels: Sequence[tuple[pd.DataFrame, Sequence[str], str]], width: float = 11) -> Figure:
    """Columns of training logs over their steps, side by side; a panel is given as log, columns and title."""
    figure = Figure(figsize=(width, 3), layout="constrained")
    for axes, (log, columns, title) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels):
        for column in columns:
            if column in log:
                series = log[["step", column]].dropna()
                marker = "o" if len(series) < 30 else None
                axes.plot(series["step"], series[column], marker=marker, markersize=3.5, label=column.replace("_", " "))
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("step")
        last = max(log["step"], default=0)
        axes.set_xlim(-0.5, 1.02 * last + 0.5)  # the same for all, even with one validation
        axes.margins(y=0.25)  # of the data's range, before it begins at 0: markers at the top stay whole
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.grid(alpha=0.3)
        if len(axes.lines) > 1:
            axes.legend(frameon=False, fontsize=8)
    return figure


def image(figure: Figure, dpi: int = 110) -> str:
    """A figure as an embedded picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=dpi, format="png")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
