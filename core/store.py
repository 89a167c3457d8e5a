"""The chip store: fixed-size chips on disk, indexed by place and date.

    chips.npy      (images, bands, rows, cols), the raster's own data type, memory-mapped
    valid.npy      (images, rows, cols) bool, only where some pixel holds no data
    labels.npy     (masks, rows, cols) uint8 class numbers, 255 = not labelled, only with labels
    index.parquet  GeoParquet, one row an image
    store.json     bands, unit, pixel size, classes, provenance

A store is made in a folder beside its own and renamed when it is whole.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from core.errors import UserError

UNLABELLED = 255
_HEADER_BYTES = 256  # a .npy header of fixed length can be written last


@dataclass(frozen=True)
class LandClass:
    """A class: its value in the source's raster, its name, its colour as ``RRGGBB``."""

    value: int
    name: str
    color: str


@dataclass(frozen=True)
class StoreInfo:
    """What holds for all chips of a store.

    Attributes:
        bands: names, in order.
        unit: what a pixel value means.
        gsd: pixel size in metres (at the equator for geographic grids), None where unknown.
        chip_size: rows = columns of a chip, px.
        classes: the legend; entry i explains the number i in labels.npy and in the index.
        background: number of the class that never names a chip (open sea, say), or None.
        provenance: where the chips come from, for people.
        license: of the imagery, as its source states it.
    """

    bands: tuple[str, ...]
    unit: str
    gsd: float | None
    chip_size: int
    classes: tuple[LandClass, ...] = ()
    background: int | None = None
    provenance: str = ""
    license: str = ""

    @classmethod
    def read(cls, path: Path) -> StoreInfo:
        """Read store.json."""
        fields = json.loads(path.read_text())
        fields["bands"] = tuple(fields["bands"])
        fields["classes"] = tuple(LandClass(**entry) for entry in fields["classes"])
        return cls(**fields)


class ChipStore:
    """A finished store, read without copying."""

    def __init__(self, path: str | Path) -> None:
        """Open a folder.

        Raises:
            UserError: it is no chip store, or its parts do not fit together.
        """
        self.path = Path(path)
        if not (self.path / "store.json").is_file():
            raise UserError(f"{path}: no chip store there; make one with 'python -m core.prepare'")
        try:
            self.info = StoreInfo.read(self.path / "store.json")
            self.index = pd.read_parquet(
                self.path / "index.parquet",
                columns=["place", "datetime", "lon", "lat", "split", "label", "mask", "row", "column", "source"],
            )
            self.chips = np.load(self.path / "chips.npy", mmap_mode="r")
            self.valid = self._optional("valid.npy")
            self.labels = self._optional("labels.npy")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: damaged chip store ({error}); make it again with --overwrite") from error
        if len(self.index) != len(self.chips):
            raise UserError(f"{path}: damaged chip store, {len(self.index)} index rows but {len(self.chips)} chips")

    def _optional(self, name: str) -> np.ndarray | None:
        path = self.path / name
        return np.load(path, mmap_mode="r") if path.exists() else None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.index)

    @cached_property
    def places(self) -> pd.DataFrame:
        """One row a place: lon, lat, split, label, and ``images``, its rows in the index."""
        grouped = self.index.groupby("place", sort=True)
        places = grouped[["lon", "lat", "split", "label"]].first()
        places["images"] = pd.Series(grouped.indices)
        return places

    def places_of(self, split: str) -> pd.DataFrame:
        """The places of one side of the split.

        Raises:
            UserError: there is none.
        """
        places = self.places[self.places["split"] == split]
        if places.empty:
            raise UserError(f"{self.path}: no place in the '{split}' split; use more imagery or smaller chips")
        return places

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """Chips of these index rows as (N, bands, size, size) float32; pixels without data are NaN."""
        pixels = self.chips[rows].astype(np.float32)
        if self.valid is not None:
            np.copyto(pixels, np.nan, where=~self.valid[rows][:, None])
        return pixels

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """Class numbers of these index rows, (N, size, size) uint8; ``UNLABELLED`` where unknown.

        Raises:
            UserError: the store has no segmentation labels.
        """
        if self.labels is None:
            raise UserError(f"{self.path}: has no label masks; make it with --labels")
        numbers = self.index["mask"].to_numpy()[rows]
        masks = self.labels[np.maximum(numbers, 0)]
        masks[numbers < 0] = UNLABELLED
        return masks

    def statistics(self) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
        """Mean and deviation per band, and the range of values, of up to 2,000 training images.

        Returns:
            (bands,) means, (bands,) standard deviations, (lowest, highest) value.
        """
        rows = np.flatnonzero(self.index["split"] == "train")
        if len(rows) > 2000:
            rows = np.sort(np.random.default_rng(0).choice(rows, 2000, replace=False))
        pixels = self.pixels(rows)
        mean = np.nanmean(pixels, axis=(0, 2, 3), dtype=np.float64)
        std = np.nanstd(pixels, axis=(0, 2, 3), dtype=np.float64)
        return np.asarray(mean), np.maximum(std, 1e-6), (float(np.nanmin(pixels)), float(np.nanmax(pixels)))


@dataclass
class StoreWriter:
    """Collects chips in a folder beside the store's; ``finish`` renames it, ``abort`` removes it."""

    path: Path
    overwrite: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    mask_count: int = 0

    def __post_init__(self) -> None:
        """Make the folder for the unfinished store.

        Raises:
            UserError: the store exists and may not be replaced.
        """
        if self.path.exists() and not self.overwrite:
            raise UserError(f"{self.path}: exists already; choose another --out, or add --overwrite to replace it")
        if self.path.exists() and not (self.path / "store.json").exists() and any(self.path.iterdir()):
            raise UserError(f"{self.path}: is not a chip store, so --overwrite leaves it alone; choose another --out")
        self.partial = self.path.with_name(self.path.name + ".partial")
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        self._files: dict[str, IO[bytes]] = {}
        self._chip: np.ndarray | None = None
        self._all_valid = True

    def _append(self, name: str, array: np.ndarray) -> None:
        if name not in self._files:
            self._files[name] = (self.partial / name).open("wb")
            self._files[name].write(b" " * _HEADER_BYTES)
        self._files[name].write(np.ascontiguousarray(array).tobytes())

    def add_mask(self, mask: np.ndarray) -> int:
        """Store a (size, size) uint8 label mask; returns its number, for ``add``."""
        self._append("labels.npy", mask)
        self.mask_count += 1
        return self.mask_count - 1

    def add(self, chip: np.ndarray, valid: np.ndarray, **row: Any) -> None:
        """Store one chip (bands, size, size) with its (size, size) bool mask and its index row."""
        if self._chip is None:
            self._chip = np.empty((0, *chip.shape), chip.dtype)
        self._append("chips.npy", chip)
        self._append("valid.npy", valid)
        self._all_valid &= bool(valid.all())
        self.rows.append(row)

    def finish(self, info: StoreInfo, split: dict[str, str]) -> ChipStore:
        """Write index and description, and give the store its name.

        Args:
            info: what holds for all chips.
            split: side of each place.

        Raises:
            UserError: there is no chip.
        """
        if self._chip is None:
            raise UserError(f"{self.path}: no chip was kept, so there is no store; see the reasons above")
        side, count = self._chip.shape[-1], len(self.rows)
        self._close("chips.npy", self._chip.dtype, (count, *self._chip.shape[1:]))
        self._close("valid.npy", np.dtype(bool), (count, side, side))
        self._close("labels.npy", np.dtype(np.uint8), (self.mask_count, side, side))
        if self._all_valid:
            (self.partial / "valid.npy").unlink()
        self._write_index(split)
        (self.partial / "store.json").write_text(json.dumps(asdict(info), indent=1))
        if self.path.exists():
            shutil.rmtree(self.path)
        self.partial.rename(self.path)
        return ChipStore(self.path)

    def _close(self, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        if name in self._files:
            file = self._files.pop(name)
            file.seek(0)
            file.write(_npy_header(dtype, shape))
            file.close()

    def _write_index(self, split: dict[str, str]) -> None:
        import geopandas as gpd

        table = pd.DataFrame(self.rows)
        table["split"] = table["place"].map(split)
        points = gpd.points_from_xy(table["lon"], table["lat"], crs="EPSG:4326")
        gpd.GeoDataFrame(table, geometry=points).to_parquet(self.partial / "index.parquet")

    def abort(self) -> None:
        """Remove what was written."""
        for file in self._files.values():
            file.close()
        shutil.rmtree(self.partial, ignore_errors=True)


def _npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """Header of numpy's format 1.0, padded to a fixed length."""
    text = repr({"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    start = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
    return start + text.encode().ljust(_HEADER_BYTES - 11) + b"\n"
