"""Benchmark of the plugin: ``QT_QPA_PLATFORM=offscreen .venv-qgis/bin/python -m benchmarks.plugin MODEL RASTER``.

Runs in QGIS's Python. Measures the time to open the window, the longest time that QGIS does not respond during a run, and
the time of a run relative to ``export.predict`` on the same raster and model, in turns, so that the ratio does not depend
on the load of the machine. The raster is repeated to ``--side`` pixels, and in one more run to ``--large`` pixels, for
which the memory of the process is measured.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from osgeo import gdal, osr

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks" / "plugin.md"
OPENED, STALLED, RATIO = 0.5, 0.2, 1.1  # seconds, seconds, times: what is wanted
SMALL = 64  # px: what such a raster takes is not the work, but the start
TICK = 5  # ms between two signs of life


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plugin", description="Speed of the QGIS plugin.")
    parser.add_argument("model", type=Path)
    parser.add_argument("raster", type=Path)
    parser.add_argument("--side", type=int, default=1536)
    parser.add_argument("--large", type=int, help="side of the large raster in px (default: no such run)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--python", type=Path, default=ROOT / ".venv" / "bin" / "python", help="Python that runs export.predict"
    )
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        text = measure(given, Path(name))
    print(text)
    given.page.write_text(text, "utf-8")


def measure(given: argparse.Namespace, folder: Path) -> str:
    """The page."""
    rasters = [enlarged(given.raster, folder / f"{side}.tif", side) for side in (SMALL, given.side)]
    window = start(folder)
    from qgis.core import QgsProject, QgsRasterLayer

    layers = [QgsRasterLayer(str(raster), raster.stem) for raster in rasters]
    QgsProject.instance().addMapLayers(layers)
    opened = [time_to_open(window, given.model) for _ in range(given.rounds + 1)]
    window.desk.dialog.fill_models(given.model)  # else it takes the model that fits the raster best
    plugin, predict, stalls = [], [], []
    for turn in range(given.rounds):
        runs = [run(window.desk.dialog, layer) for layer in layers]
        plugin.append(runs[1][0] - runs[0][0])
        stalls += [stall for _, stall in runs]
        command = [given.python, "-m", "export.predict", given.model]
        whole = [process([*command, raster, "--out", folder / f"{turn}"]) for raster in rasters]
        predict.append(whole[1] - whole[0])
    large = large_run(window, rasters[1], folder, given) if given.large else []
    window.unload()
    ours, theirs = median(plugin), median(predict)
    lines = [
        "# The plugin in figures",
        "",
        f"A raster of {given.side} x {given.side} px with `{given.model.name}`, median of {given.rounds} rounds "
        "(`python -m benchmarks.plugin`).",
        "",
        "| | measured | wanted |",
        "|---|---|---|",
        f"| opening the dialog, the first time | {opened[0]:.2f} s | {OPENED} s |",
        f"| opening it again | {median(opened[1:]):.2f} s | {OPENED} s |",
        f"| longest time without an answer during a run | {max(stalls) * 1000:.0f} ms | {STALLED * 1000:.0f} ms |",
        f"| a run in the plugin, less one over {SMALL} px | {ours:.1f} s | |",
        f"| `export.predict`, less one over {SMALL} px | {theirs:.1f} s | |",
        f"| plugin / `export.predict` | {ours / theirs:.2f} | {RATIO} |",
        *large,
        "",
    ]
    return "\n".join(lines)


def large_run(window, raster: Path, folder: Path, given: argparse.Namespace) -> list[str]:
    """Run over a virtual raster of many copies; rows of the table."""
    from qgis.core import QgsProject, QgsRasterLayer

    layer = QgsRasterLayer(str(repeated(raster, folder / "large.vrt", given.large)), "large")
    QgsProject.instance().addMapLayer(layer)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, stall = run(window.desk.dialog, layer)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    side = f"{given.large:,} x {given.large:,} px"
    return [
        f"| a run over {side} | {seconds / 60:.1f} min | |",
        f"| longest time without an answer during it | {stall * 1000:.0f} ms | {STALLED * 1000:.0f} ms |",
        f"| memory of the whole QGIS process, before and after it | {before / 1024:.0f}, {after / 1024:.0f} MB | |",
    ]


def repeated(source: Path, target: Path, side: int) -> Path:
    """A virtual raster of so many pixels a side, all copies of one."""
    opened = gdal.Open(str(source))
    one = opened.RasterXSize
    made = gdal.GetDriverByName("VRT").Create(str(target), side, side, 0)
    made.SetProjection(opened.GetProjection())
    made.SetGeoTransform(opened.GetGeoTransform())
    for number in range(1, opened.RasterCount + 1):
        kind = opened.GetRasterBand(number).DataType
        made.AddBand(kind)
        band, name = made.GetRasterBand(number), gdal.GetDataTypeName(kind)
        for place in np.ndindex(-(-side // one), -(-side // one)):
            down, right = (one * step for step in place)
            tall, wide = min(one, side - down), min(one, side - right)
            part = (
                f'<SimpleSource><SourceFilename relativeToVRT="0" shared="1">{source}</SourceFilename>'
                f'<SourceBand>{number}</SourceBand><SourceProperties RasterXSize="{one}" RasterYSize="{one}" '
                f'DataType="{name}"/><SrcRect xOff="0" yOff="0" xSize="{wide}" ySize="{tall}"/>'
                f'<DstRect xOff="{right}" yOff="{down}" xSize="{wide}" ySize="{tall}"/></SimpleSource>'
            )
            band.SetMetadataItem("source_0", part, "new_vrt_sources")
    made.FlushCache()
    return target


def enlarged(source: Path, target: Path, side: int) -> Path:
    """The pixels of a raster, repeated, on a grid of an equal-area projection."""
    opened = gdal.Open(str(source))
    pixels = opened.ReadAsArray()
    width = abs(opened.GetGeoTransform()[1]) * (
        111_320 if osr.SpatialReference(opened.GetProjection()).IsGeographic() else 1
    )
    times = [1, -(-side // pixels.shape[1]), -(-side // pixels.shape[2])]
    pixels = np.tile(pixels, times)[:, :side, :side]
    kind = gdal.GDT_Byte if pixels.dtype == np.uint8 else gdal.GDT_Float32
    options = ["TILED=YES", "COMPRESS=DEFLATE", "PHOTOMETRIC=MINISBLACK"]
    made = gdal.GetDriverByName("GTiff").Create(str(target), side, side, len(pixels), kind, options)
    system = osr.SpatialReference()
    system.ImportFromEPSG(6933)
    made.SetProjection(system.ExportToWkt())
    made.SetGeoTransform((-side / 2 * width, width, 0, side / 2 * width, 0, -width))
    made.WriteArray(pixels)
    made.FlushCache()
    return target


def start(folder: Path):
    """A QGIS without its window, which ends with the object that this function keeps, and the plugin as QGIS Desktop starts it."""
    from qgis.core import QgsApplication
    from qgis.gui import QgsMapCanvas, QgsMessageBar
    from qgis.PyQt.QtWidgets import QMainWindow

    from export import plugin

    application = start.application = QgsApplication([], True, str(folder / "profile"))
    application.initQgis()
    sys.path += [str(Path(application.pkgDataPath()) / "python" / "plugins"), str(folder)]
    from processing.core.Processing import Processing

    Processing.initialize()
    plugin.stage(folder / "geoaware")
    import geoaware

    main_window, canvas, bar = QMainWindow(), QgsMapCanvas(), QgsMessageBar()

    class Desktop:
        """What the plugin asks of QGIS's window."""

        def __getattr__(self, name):
            known = {"mainWindow": main_window, "mapCanvas": canvas, "messageBar": bar, "activeLayer": None}
            return lambda *_: known.get(name)

    window = geoaware.classFactory(Desktop())
    window.initGui()
    return window


def time_to_open(window, model: Path) -> float:
    """Seconds from the click to the window that is drawn; then it is closed, once it has had its first look."""
    from geoaware.algorithms.run_model import LAST_MODEL
    from qgis.core import QgsApplication, QgsSettings

    QgsSettings().setValue(LAST_MODEL, str(model))
    began = time.perf_counter()
    window.open_dialog()
    QgsApplication.processEvents()
    took = time.perf_counter() - began
    dialog = window.desk.dialog
    until(lambda: dialog._estimating is None and not dialog._timer.isActive() and dialog._plan is not None)
    dialog.close()
    return took


def run(dialog, layer) -> tuple[float, float]:
    """Seconds of a run, and the longest ones between two signs of life of the window."""
    from qgis.PyQt.QtCore import Qt, QTimer

    dialog.show()
    dialog.set_layer(layer)
    until(lambda: dialog._timer.isActive() or dialog._estimating is not None or dialog._plan is not None)
    until(lambda: dialog.run_button.isEnabled() and dialog._estimating is None and not dialog._timer.isActive())
    signs = [time.perf_counter()]
    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(lambda: signs.append(time.perf_counter()))
    timer.start(TICK)
    dialog.run_button.click()
    job = dialog.runs.all[-1]
    until(lambda: job.over)
    until(lambda: signs[-1] > signs[0] + job.seconds)
    timer.stop()
    assert job.state == "done", job.log
    return job.seconds, float(np.diff(signs).max())


def until(fine, seconds: float = 7200) -> None:
    """Let QGIS's events go on until something is so."""
    from qgis.PyQt.QtCore import QEventLoop, QTimer

    end = time.monotonic() + seconds
    while not fine():
        if time.monotonic() > end:
            raise TimeoutError
        loop = QEventLoop()
        QTimer.singleShot(20, loop.quit)
        loop.exec()


def process(command: list) -> float:
    """Seconds of a whole process."""
    began = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
