"""The page of the benchmark: each part has a section of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "few_labels.md"
HEAD = "# From a handful of labels to a map"


def write(path: Path, title: str, lines: Sequence[str], head: str = HEAD) -> None:
    """Put a section at the end of the page, instead of an older one of that title."""
    text = path.read_text("utf-8") if path.is_file() else f"{head}\n"
    older = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    section = "\n".join([f"## {title}", "", *lines, ""])
    others = older.sub("", text).rstrip()
    path.write_text(f"{others}\n\n{section}", "utf-8")
