"""Everything that the runtime says to a user, as data: a kind, its facts, and one English sentence per kind.

The runtime never names a command-line flag or a widget. A host appends its own remedy: the command line with its
flags (``export/wording.py``), QGIS with its widgets and languages (``qgis_plugin/texts.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping

# kind -> English sentence with the names of its facts; sizes in bytes and other formatted facts are passed as text
MESSAGES: Dict[str, str] = {}


@dataclass(frozen=True)
class Message:
    """One sentence for the user, not yet worded.

    Attributes:
        kind: key of ``MESSAGES``.
        fields: the facts that the sentence names.
    """

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def text(self, sentence: str = "") -> str:
        """The sentence with its facts; a translated ``sentence`` replaces the English one.

        Messages that have no kind yet are their own sentence.
        """
        sentence = sentence or MESSAGES.get(self.kind, "")
        return sentence.format(**self.fields) if sentence else self.kind

    def __str__(self) -> str:
        """In English."""
        return self.text()
