"""The runtime's host in QGIS: reads the source raster and writes the result with GDAL.

Nothing here touches a QGIS layer but ``LayerSource.of``, which runs on the main thread before the work starts.
"""

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Sequence, Tuple

import numpy as np
from osgeo import gdal, osr
from qgis.core import QgsCoordinateReferenceSystem, QgsProviderRegistry

from .runtime.card import NODATA, ModelCard
from .runtime.errors import Cancelled, InputFault
from .runtime.grid import Window
from .runtime.style import pam_xml, qml
from .runtime.sweep import Rows
from .texts import tr

METRES_PER_DEGREE = 111320.0
SAMPLE_SIDE = 512  # px, of the window whose values are compared with the card


@contextmanager
def gdal_errors_as(sentence: str):
    """Turn GDAL's errors into one ``InputFault``; QGIS's own setting of GDAL exceptions comes back after.

    Older GDAL knows only a switch for the whole process, so keep the body short: one call or two.
    """
    before = gdal.GetUseExceptions()
    gdal.UseExceptions()
    try:
        yield
    except RuntimeError as error:
        raise InputFault(f"{sentence} ({error})") from error
    finally:
        if not before:
            gdal.DontUseExceptions()


@dataclass(frozen=True)
class LayerSource:
    """What the worker must know of a layer, copied so that it never touches the layer.

    Attributes:
        name: of the layer.
        uri: what GDAL opens.
        options: GDAL's open options.
        crs: WKT of the layer's CRS, which the user may have set.
        nodata: for each band, (lowest, highest) of the value ranges that the user declared empty.
        ignored: bands whose own nodata value the user switched off.
    """

    name: str
    uri: str
    options: Tuple[str, ...]
    crs: str
    nodata: Dict[int, List[Tuple[float, float]]]
    ignored: Tuple[int, ...]

    @classmethod
    def of(cls, layer) -> "LayerSource":
        """Copy it from a raster layer, on the main thread.

        Raises:
            InputFault: GDAL cannot open the layer's source, or the layer has no CRS.
        """
        if layer.providerType() != "gdal":
            text = tr("The layer '{name}' comes from a '{provider}' service: save it as a GeoTIFF first.")
            raise InputFault(text.format(name=layer.name(), provider=layer.providerType()))
        if not layer.crs().isValid():
            text = tr("The layer '{name}' has no CRS: set it with Layer > Set CRS of Layer.")
            raise InputFault(text.format(name=layer.name()))
        provider = layer.dataProvider()
        bands = range(1, layer.bandCount() + 1)
        parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
        return cls(
            name=layer.name(),
            uri=layer.source().split("|option:")[0],
            options=tuple(parts.get("openOptions") or ()),
            crs=layer.crs().toWkt(QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED_GDAL),
            nodata={band: [(r.min(), r.max()) for r in provider.userNoDataValues(band)] for band in bands},
            ignored=tuple(band for band in bands if not provider.useSourceNoDataValue(band)),
        )


class SourceRaster:
    """The opened raster; belongs to one thread."""

    def __init__(self, source: LayerSource) -> None:
        """Open it.

        Raises:
            InputFault: GDAL cannot, or the raster lies on control points instead of a grid.
        """
        self.source = source
        with gdal_errors_as(tr("{uri}: cannot be read").format(uri=source.uri)):
            flags = gdal.OF_RASTER | gdal.OF_VERBOSE_ERROR
            self.dataset = gdal.OpenEx(source.uri, flags, open_options=list(source.options))
        self.height, self.width = self.dataset.RasterYSize, self.dataset.RasterXSize
        self.transform = self.dataset.GetGeoTransform(can_return_null=True)
        if self.transform is None and self.dataset.GetGCPCount():
            raise InputFault(tr("{uri}: lies on control points: warp it first.").format(uri=source.uri))
        self.bands: Tuple[int, ...] = ()

    def choose_bands(self, card: ModelCard, chosen: Sequence[int]) -> Tuple[int, ...]:
        """Decide which bands feed the model, in the model's order, and remember them for ``read``.

        The user's choice counts first, then bands that bear the model's names, then the first ones.

        Raises:
            InputFault: the number of bands does not fit.
        """
        wanted, names = len(card.bands), ", ".join(card.bands)
        numbers = range(1, self.dataset.RasterCount + 1)
        if chosen:
            if len(chosen) != wanted:
                text = tr("{found} bands were chosen, but the model needs {wanted} ({names}).")
                raise InputFault(text.format(found=len(chosen), wanted=wanted, names=names))
            self.bands = tuple(chosen)
            return self.bands
        usable = [n for n in numbers if self._band(n).GetColorInterpretation() != gdal.GCI_AlphaBand]
        if len(usable) < wanted:
            text = tr("The layer '{name}' has {found} bands, but the model needs {wanted} ({names}).")
            raise InputFault(text.format(name=self.source.name, found=len(usable), wanted=wanted, names=names))
        by_name = {self._band(n).GetDescription().strip().lower(): n for n in usable}
        keys = [name.strip().lower() for name in card.bands]
        self.bands = tuple(by_name[key] for key in keys) if set(keys) <= set(by_name) else tuple(usable[:wanted])
        return self.bands

    def read(self, window: Window) -> Tuple[np.ndarray, np.ndarray]:
        """Pixels (bands, rows, columns) and where all bands hold data (rows, columns)."""
        box = (window.column, window.row, window.width, window.height)
        pixels = []
        valid = np.ones((window.height, window.width), bool)
        with gdal_errors_as(tr("{uri}: damaged, it cannot be read to its end").format(uri=self.source.uri)):
            for number in self.bands:
                band = self._band(number)
                pixels.append(band.ReadAsArray(*box))
                if self._has_mask(number):
                    valid &= band.GetMaskBand().ReadAsArray(*box) != 0
        for number, values in zip(self.bands, pixels):
            for low, high in self.source.nodata.get(number, ()):
                valid &= ~((values >= low) & (values <= high))
            if values.dtype.kind == "f":
                valid &= np.isfinite(values)
        return np.stack(pixels), valid

    def sample(self) -> Tuple[np.ndarray, np.ndarray]:
        """Like ``read``, from the middle of the raster."""
        height, width = min(self.height, SAMPLE_SIDE), min(self.width, SAMPLE_SIDE)
        return self.read(Window((self.height - height) // 2, (self.width - width) // 2, height, width))

    def pixel_size_m(self) -> float:
        """Height of a pixel in metres; 0 where it is not known."""
        if self.transform is None:
            return 0.0
        height = float(np.hypot(self.transform[4], self.transform[5]))
        srs = osr.SpatialReference(self.source.crs)
        return height * (METRES_PER_DEGREE if srs.IsGeographic() else srs.GetLinearUnits())

    def _band(self, number: int):
        return self.dataset.GetRasterBand(number)

    def _has_mask(self, number: int) -> bool:
        flags = self._band(number).GetMaskFlags()
        if flags & gdal.GMF_NODATA:
            return number not in self.source.ignored
        return not flags & gdal.GMF_ALL_VALID


def write_result(
    rows: Iterable[Rows],
    source: SourceRaster,
    card: ModelCard,
    out: Path,
    confidence: bool,
    go_on: Callable[[], bool],
) -> None:
    """Write finished rows as a Cloud-Optimized GeoTIFF with names, colours and a QGIS style beside it.

    All work is done in a hidden folder beside the target, so nothing has its final name before it is whole and
    was read back, and nothing is left when it is cancelled or fails.

    Raises:
        InputFault: it cannot be written.
        Cancelled: ``go_on`` returned False.
    """
    bands = 2 if confidence else 1
    try:
        with tempfile.TemporaryDirectory(prefix=".geoaware-", dir=out.parent) as name:
            folder = Path(name)
            with _space_told(out, source, bands):
                _write_rows(rows, source, card, folder / "plain.tif", bands)
                _to_cog(folder / "plain.tif", folder / "cog.tif", go_on)
            _verify(folder / "plain.tif", folder / "cog.tif", out)
            (folder / "names.xml").write_text(pam_xml(card.classes, bands), encoding="utf-8")
            (folder / "style.qml").write_text(qml(card.classes), encoding="utf-8")
            os.replace(folder / "names.xml", f"{out}.aux.xml")
            os.replace(folder / "style.qml", out.with_suffix(".qml"))
            os.replace(folder / "cog.tif", out)
    except OSError as error:
        raise InputFault(tr("{out}: cannot be written ({error})").format(out=out, error=error)) from error


@contextmanager
def _space_told(out: Path, source: SourceRaster, bands: int):
    """Add the room needed to the message of a failed write where the disk is short of it."""
    try:
        yield
    except InputFault as error:
        needed, free = 2 * source.height * source.width * bands, shutil.disk_usage(out.parent).free
        if free > needed:
            raise
        text = tr("{error}; up to {needed} MB may be needed and {free} MB are free")
        raise InputFault(text.format(error=error, needed=needed // 2**20 + 1, free=free // 2**20)) from error


def _write_rows(rows: Iterable[Rows], source: SourceRaster, card: ModelCard, path: Path, bands: int) -> None:
    # level 1: the file is read again and compressed well a moment later
    options = ["TILED=YES", "COMPRESS=DEFLATE", "ZLEVEL=1", "BIGTIFF=IF_SAFER"]
    failed = tr("The result cannot be written")
    target = None
    try:
        with gdal_errors_as(failed):
            driver = gdal.GetDriverByName("GTiff")
            target = driver.Create(str(path), source.width, source.height, bands, gdal.GDT_Byte, options)
            _describe(target, source, card)
        for part in rows:
            with gdal_errors_as(failed):
                for number, values in zip(range(1, bands + 1), (part.classes, part.confidence)):
                    target.GetRasterBand(number).WriteArray(values, 0, part.top)
        with gdal_errors_as(failed):
            target.FlushCache()
    finally:
        target = None  # closes the file, which Windows wants before it lets the folder go


def _describe(target, source: SourceRaster, card: ModelCard) -> None:
    target.SetProjection(source.source.crs)
    if source.transform is not None:
        target.SetGeoTransform(source.transform)
    for number, text in zip(range(1, target.RasterCount + 1), ("land cover", "confidence, per cent")):
        target.GetRasterBand(number).SetDescription(text)
        target.GetRasterBand(number).SetNoDataValue(NODATA)
    if target.RasterCount == 1:  # beside a second band a colour table is no valid TIFF: the .aux.xml has it
        table = gdal.ColorTable()
        for entry in card.classes:
            table.SetColorEntry(entry.value, (*entry.rgb, 255))
        target.GetRasterBand(1).SetColorTable(table)


def _to_cog(plain: Path, cog: Path, go_on: Callable[[], bool]) -> None:
    options = ["COMPRESS=DEFLATE", "OVERVIEW_RESAMPLING=MODE", "BIGTIFF=IF_SAFER"]
    try:
        with gdal_errors_as(tr("The result cannot be written")):
            # the answer is a dataset; letting go of it closes the file
            gdal.Translate(
                str(cog),
                str(plain),
                format="COG",
                creationOptions=options,
                callback=lambda done, message, data: int(go_on()),
            )
    except InputFault:
        if go_on():
            raise
        raise Cancelled("cancelled") from None


def _verify(plain: Path, cog: Path, out: Path) -> None:
    """Read both files whole: a file cut off in the middle opens well and reads as empty."""
    with gdal_errors_as(tr("{out}: could not be read back").format(out=out)):
        sums = []
        for path in (plain, cog):
            dataset = gdal.Open(str(path))
            bands = range(1, dataset.RasterCount + 1)
            sums.append(
                (dataset.RasterXSize, dataset.RasterYSize, [dataset.GetRasterBand(b).Checksum() for b in bands])
            )
            dataset = None
    if sums[0] != sums[1]:
        raise InputFault(tr("{out}: could not be written whole").format(out=out))
