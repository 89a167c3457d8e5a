"""The model library: starter models in the plugin and a folder in the profile. Without windows."""

import hashlib
import math
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Optional

from qgis.core import QgsApplication, QgsSettings

from ..algorithms.run_model import LAST_MODEL
from ..gdal_io.grid import LayerGrid
from ..gdal_io.job import card_in
from ..gdal_io.services import band_count
from ..runtime.errors import Cancelled, InputFault, ModelFault, RuntimeFault
from ..runtime.files import free_bytes
from ..runtime.model.card import ModelCard
from ..runtime.model.guard import MAX_BYTES
from ..runtime.raster.lattice import Transform
from ..texts import language, size, tr, words

STARTERS = Path(__file__).resolve().parent.parent / "models"
_BLOCK = 2**20
_MISSING_BAND = 100.0  # a missing band weighs more than any difference of pixel sizes
_UNKNOWN = 1.0  # as if the pixel sizes differed by a factor of two


@dataclass(frozen=True)
class Entry:
    """A model file; one that is refused has a ``fault``, which says why, instead of a card."""

    path: Path
    card: Optional[ModelCard]
    fault: str = ""
    starter: bool = False

    @classmethod
    def of(cls, path: Path, starter: bool = False) -> "Entry":
        """Read the card of a file, unless it is known; the model is checked but not run."""
        state = _state(path)
        if _READ.get(path, (None, None))[0] != state or state is None:
            try:
                _READ[path] = state, cls(path, card_in(str(path)), "", starter)
            except RuntimeFault as fault:
                _READ[path] = state, cls(path, None, words(fault), starter)
        return replace(_READ[path][1], starter=starter)

    @property
    def title(self) -> str:
        """Name in lists."""
        return self.card.name if self.card else self.path.stem


_READ: dict[Path, tuple[Any, Entry]] = {}  # the state of a file, and what was read of it


def _state(path: Path) -> Any:
    """What changes with a model or the card beside it; None where there is no such file."""
    try:
        files = [path, *(one for one in [path.with_suffix(".card.json")] if one.is_file())]
        return [(one.stat().st_mtime_ns, one.stat().st_size) for one in files], language()
    except OSError:
        return None


def all_known() -> bool:
    """Whether ``entries`` returns at once: reading a model takes some hundredths of a second."""
    return all(_READ.get(path, (None, None))[0] == _state(path) for path in (*_models(STARTERS), *_models(folder())))


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


def last_used() -> Path:
    """File of the model that ran last; not a file if none did."""
    return Path(QgsSettings().value(LAST_MODEL, "") or ".")


def add(source: Path, checksum: str = "", keep_going: Callable[[], bool] = lambda: True) -> Path:
    """Copy a model and the card beside it into the library, and check the copy.

    Args:
        source: an ONNX file.
        checksum: expected SHA-256 in hexadecimal; empty: not checked.
        keep_going: returns False to cancel.

    Returns:
        The file in the library.

    Raises:
        RuntimeFault: the model is refused, or its checksum or name does not match.
        Cancelled: ``keep_going`` returned False.
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
            return _checked_in(source, Path(made), checksum, keep_going)
    except OSError as error:
        raise InputFault.worded(tr("The model cannot be copied ({error}).").format(error=error)) from error


def _checked_in(source: Path, hidden: Path, checksum: str, keep_going: Callable[[], bool]) -> Path:
    copy, card = hidden / source.name, source.with_suffix(".card.json")
    with copy.open("wb") as write:
        actual = sha256(source, keep_going, write.write)
    if checksum.strip().lower() not in ("", actual):
        text = tr("{name}: the checksum is {checksum}, not the expected one: the file is corrupt or another one.")
        raise ModelFault.worded(text.format(name=source.name, checksum=actual))
    if card.is_file():
        shutil.copyfile(card, copy.with_suffix(".card.json"))
    try:
        card_in(str(copy))
    except RuntimeFault as fault:
        fault.message = fault.message.about(source.name)
        raise
    target = folder() / source.name
    if target.exists() and sha256(target) != actual:
        text = tr("The library has another model named {name}: remove it first, or rename the file.")
        raise InputFault.worded(text.format(name=source.name))
    if card.is_file():
        os.replace(copy.with_suffix(".card.json"), target.with_suffix(".card.json"))
    os.replace(copy, target)
    return target


def sha256(path: Path, keep_going: Callable[[], bool] = lambda: True, each: Callable[[bytes], Any] = len) -> str:
    """SHA-256 of a file in hexadecimal; ``each`` receives its blocks.

    Raises:
        Cancelled: ``keep_going`` returned False.
    """
    digest = hashlib.sha256()
    with path.open("rb") as read:
        for block in iter(lambda: read.read(_BLOCK), b""):
            if not keep_going():
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


def suggested(entries: list[Entry], layer, last: Path) -> int:
    """Index of the model that fits a layer best; ties go to the one used last, then to one with classes.

    ``entries`` is not empty; ``layer`` is a raster layer or None; ``last`` is the file of the model used last.
    """
    known = layer is not None and layer.isValid()
    bands, metres = (band_count(layer.dataProvider()), _pixel_metres(layer)) if known else (0, None)

    def rank(number: int):
        entry = entries[number]
        if entry.card is None:
            return math.inf, True, True, number
        difference = _misfit(entry.card, bands, metres) if known else 0.0
        return difference, entry.path != last, entry.card.task == "embedding", number

    return min(range(len(entries)), key=rank)


def _misfit(card: ModelCard, bands: int, metres: Optional[float]) -> float:
    """How badly a model fits a layer of so many bands and that pixel size: 0 is a fit, higher is worse."""
    missing = _MISSING_BAND * max(0, len(card.bands) - bands)
    if not card.gsd or not metres:
        return missing + _UNKNOWN
    doublings = abs(math.log2(metres / card.gsd))
    return missing + (doublings if doublings > 1 else 0.0)


def _pixel_metres(layer) -> Optional[float]:
    """Pixel size of a layer on the ground; None if it has no pixel grid or no CRS."""
    provider = layer.dataProvider()
    if not layer.isValid() or not layer.crs().isValid() or provider.xSize() < 1:
        return None
    size = Transform(layer.rasterUnitsPerPixelX(), 0, 0, 0, -layer.rasterUnitsPerPixelY(), 0)
    return LayerGrid(layer.crs().toWkt(), size, provider.ySize(), provider.xSize()).pixel_size_m[0] or None
