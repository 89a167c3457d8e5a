"""``python -m export.predict``: land-cover maps from rasters, in batches. Needs no torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from export.raster_host import Placement, SourceRaster, write_map
from export.runtime.errors import InputFault, RuntimeFault
from export.runtime.session import Model
from export.runtime.sweep import segment


def predict(
    model: Model, raster: Path, out: Path, *, confidence: bool = False, placement: Placement | None = None
) -> None:
    """Write the map of one raster.

    Args:
        model: an opened segmentation model.
        raster: the imagery.
        out: the GeoTIFF to write; ``.aux.xml`` and ``.qml`` go beside it.
        confidence: add a second band, the probability of the class in per cent.
        placement: coordinates, where the raster has none.

    Raises:
        RuntimeFault: the raster does not fit the model, or cannot be read or written.
    """
    if out.exists() and raster.exists() and out.samefile(raster):
        raise InputFault(f"{out}: is the raster itself; choose another --out")
    source = SourceRaster(raster, model.card, placement)
    for warning in source.warnings_for(model.card):
        print(f"warning: {warning}", file=sys.stderr)
    with tqdm(desc=raster.name, unit="tile") as bar:

        def progress(done: int, total: int) -> bool:
            bar.total = total
            bar.update(done - bar.n)
            return True

        height, width = source.dataset.shape
        write_map(segment(model, source.read, height, width, progress), source, model.card, out, confidence)


def main() -> int:
    """Parse the command line and predict; 2 after bad input, 1 when only some rasters failed."""
    parser = argparse.ArgumentParser(
        prog="python -m export.predict",
        description="Land-cover maps from rasters, with a model that export.to_onnx wrote.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument("rasters", type=Path, nargs="+", metavar="RASTER")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the maps, each named after its raster"
    )
    parser.add_argument(
        "--confidence", action="store_true", help="add a second band: probability of the class, per cent"
    )
    parser.add_argument("--crs", help="CRS of rasters without coordinates, e.g. EPSG:4326")
    parser.add_argument(
        "--bounds", type=float, nargs=4, metavar=("W", "S", "E", "N"), help="their bounds, in units of --crs"
    )
    arguments = parser.parse_args()
    if (arguments.crs is None) != (arguments.bounds is None):
        parser.error("--crs and --bounds go together: both, or none")
    placement = Placement(arguments.crs, tuple(arguments.bounds)) if arguments.crs else None
    names = [raster.stem for raster in arguments.rasters]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        parser.error(f"several rasters are called {doubled.pop()}: their maps would have one name; run them one by one")
    try:
        model = Model(arguments.model)
    except RuntimeFault as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    failed = 0
    for raster in arguments.rasters:
        out = arguments.out / f"{raster.stem}.tif"
        try:
            predict(model, raster, out, confidence=arguments.confidence, placement=placement)
            print(f"map: {out} ({model.provider})")
        except RuntimeFault as fault:
            failed += 1
            print(f"error: {fault}", file=sys.stderr)
        except KeyboardInterrupt:
            print("stopped; nothing unfinished was left behind", file=sys.stderr)
            return 130
    if not failed:
        return 0
    return 2 if failed == len(arguments.rasters) else 1


if __name__ == "__main__":
    raise SystemExit(main())
