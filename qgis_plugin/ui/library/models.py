"""The model library: starter models in the plugin and a folder in the profile. Without windows."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from qgis.core import QgsApplication

from ...gdal_io.job import card_in
from ...runtime.errors import Cancelled, InputFault, ModelFault, RuntimeFault
from ...runtime.files import free_bytes
from ...runtime.model.card import ModelCard
from ...runtime.model.guard import MAX_BYTES
from ...texts import size, tr, words

STARTERS = Path(__file__).resolve().parents[2] / "models"
_BLOCK = 2**20


@dataclass(frozen=True)
class Entry:
    """A model file.

    Attributes:
        path: of the file.
        card: None if the file is refused.
        fault: why it is refused; empty if it is not.
        starter: whether it comes with the plugin.
    """

    path: Path
    card: Optional[ModelCard]
    fault: str = ""
    starter: bool = False

    @classmethod
    def of(cls, path: Path, starter: bool = False) -> "Entry":
        """Read the card of a file; the model is checked but not run."""
        try:
            return cls(path, card_in(str(path)), "", starter)
        except RuntimeFault as fault:
            return cls(path, None, words(fault), starter)

    @property
    def title(self) -> str:
        """Name in lists."""
        return self.card.name if self.card else self.path.stem


def folder() -> Path:
    """Folder of the user's models: in the profile, so that an update of the plugin keeps them."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "geoaware" / "models"


def entries() -> list[Entry]:
    """All models, starter models first."""
    starters = [Entry.of(path, True) for path in sorted(_models(STARTERS))]
    own = [Entry.of(path) for path in _models(folder())]
    return [*starters, *sorted(own, key=lambda entry: entry.title.lower())]


def _models(directory: Path) -> list[Path]:
    """Model files of a folder; the suffix may be in upper case."""
    return [path for path in directory.glob("*") if path.suffix.lower() == ".onnx"]


def add(source: Path, checksum: str = "", go_on: Callable[[], bool] = lambda: True) -> Path:
    """Copy a model and the card beside it into the library, and check the copy.

    Args:
        source: an ONNX file.
        checksum: expected SHA-256 in hexadecimal; empty: not checked.
        go_on: returns False to cancel.

    Returns:
        The file in the library.

    Raises:
        RuntimeFault: the model is refused, or its checksum or name does not match.
        Cancelled: ``go_on`` returned False.
    """
    if not source.is_file():
        raise ModelFault.worded(tr("{name}: there is no such file.").format(name=source.name))
    needed = source.stat().st_size
    if needed > MAX_BYTES:
        raise ModelFault.worded(tr("{name}: larger than the limit of 2 GB.").format(name=source.name))
    try:
        folder().mkdir(parents=True, exist_ok=True)
        if free_bytes(folder()) < needed:
            text = tr("{name}: needs {size}, more than is free on the disk of the profile folder.")
            raise InputFault.worded(text.format(name=source.name, size=size(needed)))
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=folder()) as made:
            return _checked_in(source, Path(made), checksum, go_on)
    except OSError as error:
        raise InputFault.worded(tr("The model cannot be copied ({error}).").format(error=error)) from error


def _checked_in(source: Path, hidden: Path, checksum: str, go_on: Callable[[], bool]) -> Path:
    copy = hidden / source.name
    actual, expected = _copied(source, copy, go_on), checksum.strip().lower()
    if expected and expected != actual:
        text = tr("{name}: the checksum is {checksum}, not the expected one: the file is corrupt or another one.")
        raise ModelFault.worded(text.format(name=source.name, checksum=actual))
    card = source.with_suffix(".card.json")
    if card.is_file():
        shutil.copyfile(card, copy.with_suffix(".card.json"))
    card_in(str(copy))
    target = folder() / source.name
    if target.exists() and sha256(target) != actual:
        text = tr("The library has another model named {name}: remove it first, or rename the file.")
        raise InputFault.worded(text.format(name=source.name))
    if card.is_file():
        os.replace(copy.with_suffix(".card.json"), target.with_suffix(".card.json"))
    os.replace(copy, target)
    return target


def _copied(source: Path, target: Path, go_on: Callable[[], bool]) -> str:
    """Copy a file; returns its SHA-256."""
    with target.open("wb") as write:
        return sha256(source, go_on, write.write)


def sha256(path: Path, go_on: Callable[[], bool] = lambda: True, each: Callable[[bytes], Any] = len) -> str:
    """SHA-256 of a file in hexadecimal; ``each`` receives its blocks.

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
    """Delete a model and the card beside it from the library.

    Raises:
        InputFault: it comes with the plugin, or the file is in use.
    """
    if entry.path.parent != folder():
        raise InputFault.worded(tr("'{name}' comes with the plugin and cannot be removed.").format(name=entry.title))
    try:
        entry.path.unlink()
        entry.path.with_suffix(".card.json").unlink(missing_ok=True)
    except OSError as error:
        raise InputFault.worded(tr("The model cannot be removed ({error}).").format(error=error)) from error
