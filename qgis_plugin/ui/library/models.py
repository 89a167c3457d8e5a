"""The models that are offered: a folder in the profile, and those that come with the plugin. Knows no windows."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, List, Optional

from qgis.core import QgsApplication

from ...gdal_io.job import card_in
from ...runtime.errors import Cancelled, InputFault, ModelFault, RuntimeFault
from ...runtime.files import free_bytes, size_text
from ...runtime.model.card import ModelCard
from ...runtime.model.guard import MAX_BYTES
from ...texts import tr, words

STARTERS = Path(__file__).resolve().parents[2] / "models"
_BLOCK = 2**20


@dataclass(frozen=True)
class Entry:
    """A model file.

    Attributes:
        path: of the file.
        card: None where the file is refused.
        fault: why it is refused; empty where it is not.
        starter: whether it came with the plugin.
    """

    path: Path
    card: Optional[ModelCard]
    fault: str = ""
    starter: bool = False

    @classmethod
    def of(cls, path: Path, starter: bool = False) -> "Entry":
        """Read the card; the model is checked but not run."""
        try:
            return cls(path, card_in(str(path)), "", starter)
        except RuntimeFault as fault:
            return cls(path, None, words(fault), starter)

    @property
    def title(self) -> str:
        """What it is called in lists."""
        return self.card.name if self.card else self.path.stem


def folder() -> Path:
    """Where the models lie: in the profile, so that an update of the plugin keeps them."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "geoaware" / "models"


def entries() -> List[Entry]:
    """All models, those of the plugin first."""
    found = [Entry.of(path, True) for path in sorted(_models(STARTERS))]
    own = [Entry.of(path) for path in _models(folder())]
    return [*found, *sorted(own, key=lambda entry: entry.title.lower())]


def _models(where: Path) -> List[Path]:
    """Files of models; ``.ONNX`` is one too, on every disk."""
    return [path for path in where.glob("*") if path.suffix.lower() == ".onnx"]


def add(source: Path, checksum: str = "", go_on: Callable[[], bool] = lambda: True) -> Path:
    """Copy a model, and the card beside it, into the library; what is checked is the copy.

    Args:
        source: an ONNX file.
        checksum: its SHA-256 in hexadecimal, as whoever gave the model states it; empty to leave it unchecked.
        go_on: False stops.

    Returns:
        The file in the library.

    Raises:
        RuntimeFault: the model is refused, has another checksum, or has the name of another one.
        Cancelled: ``go_on`` returned False.
    """
    if not source.is_file():
        raise ModelFault(tr("{name}: there is no such file.").format(name=source.name))
    size = source.stat().st_size
    if size > MAX_BYTES:
        raise ModelFault(tr("{name}: a model may be 2 GB large at most.").format(name=source.name))
    try:
        folder().mkdir(parents=True, exist_ok=True)
        if free_bytes(folder()) < size:
            text = tr("{name}: needs {size}, more than is free on the disk of your profile.")
            raise InputFault(text.format(name=source.name, size=size_text(size)))
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=folder()) as made:
            return _checked_in(source, Path(made), checksum, go_on)
    except OSError as error:
        raise InputFault(tr("The model cannot be copied ({error}).").format(error=error)) from error


def _checked_in(source: Path, hidden: Path, checksum: str, go_on: Callable[[], bool]) -> Path:
    copy = hidden / source.name
    found = _copied(source, copy, go_on)
    wanted = checksum.strip().lower()
    if wanted and wanted != found:
        text = tr("{name}: its checksum is {found}, not the stated one: it is damaged or another file.")
        raise ModelFault(text.format(name=source.name, found=found))
    card = source.with_suffix(".card.json")
    if card.is_file():
        shutil.copyfile(card, copy.with_suffix(".card.json"))
    card_in(str(copy))
    target = folder() / source.name
    if target.exists() and sha256(target) != found:
        text = tr("The library holds another model named {name}: remove that one first, or rename this file.")
        raise InputFault(text.format(name=source.name))
    if card.is_file():
        os.replace(copy.with_suffix(".card.json"), target.with_suffix(".card.json"))
    os.replace(copy, target)
    return target


def _copied(source: Path, target: Path, go_on: Callable[[], bool]) -> str:
    """Copy a file; its SHA-256."""
    with target.open("wb") as write:
        return sha256(source, go_on, write.write)


def sha256(path: Path, go_on: Callable[[], bool] = lambda: True, each: Callable[[bytes], Any] = len) -> str:
    """Of a file, in hexadecimal; ``each`` is given its blocks.

    Raises:
        Cancelled: ``go_on`` returned False.
    """
    digest = hashlib.sha256()
    with path.open("rb") as read:
        for block in iter(lambda: read.read(_BLOCK), b""):
            if not go_on():
                raise Cancelled("cancelled")
            digest.update(block)
            each(block)
    return digest.hexdigest()


def remove(entry: Entry) -> None:
    """Take a model and the card beside it out of the library.

    Raises:
        InputFault: it came with the plugin, or is in use.
    """
    if entry.path.parent != folder():
        raise InputFault(tr("'{name}' came with the plugin and cannot be removed.").format(name=entry.title))
    try:
        entry.path.unlink()
        entry.path.with_suffix(".card.json").unlink(missing_ok=True)
    except OSError as error:
        raise InputFault(tr("The model cannot be removed ({error}).").format(error=error)) from error
