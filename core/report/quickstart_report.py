"""The quickstart's report: one HTML page that opens from disk, with its pictures inside."""

from __future__ import annotations

import html
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import rasterio
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rasterio.enums import Resampling

from core.evaluation.probe import DATES, METHODS, words
from core.report.webpage import image, tile, webpage
from core.sources.sample import IGBP, Sample

matplotlib.use("Agg")


def write_report(out: Path, sample: Sample, metrics: dict, commands: list[str]) -> Path:
    """Write report.html, and map.png for use elsewhere.

    Args:
        out: the quickstart's folder, with its steps' logs.
        sample: what it ran on.
        metrics: what it measured.
        commands: what was run, to repeat it.
    """
    picture = _map_figure(out / "landcover.tif", sample)
    picture.savefig(out / "map.png", dpi=110)
    knn, area = metrics["probe"]["all_dates"], metrics["map"]["all_pixels"]
    gain = knn["advantage_over_untrained"]["knn"]
    body = [
        "<h1>GeoAware quickstart</h1>",
        f"<small>{len(sample.months)} months of NASA Blue Marble 2004 ({html.escape(_months(sample))}), {metrics['places']} places, "
        f"{metrics['images']} chips; labels: MODIS land cover 2019 (IGBP); {metrics['seconds'] // 60} min {metrics['seconds'] % 60} s</small>",
        _missing_months(sample),
        '<div class="big">',
        tile(
            knn["trained"]["knn"]["accuracy"]["value"],
            f"kNN accuracy of the encoder's features over all dates; untrained: {knn['untrained']['knn']['accuracy']['value']:.1%}",
        ),
        tile(
            gain["value"], f"gained over the untrained encoder (95 % interval {gain['low']:.1%} to {gain['high']:.1%})"
        ),
        tile(
            area["accuracy"],
            f"of the map's pixels in held-out blocks agree with MODIS; always the majority class: {area['majority_class']:.1%}",
        ),
        "</div>",
        "<h2>The map, beside its reference</h2>",
        image(picture),
        f"<p>Made from one month ({NAMES[sample.reference_month - 1]}), with the labels of {metrics['finetune']['labelled_places']} places. "
        f"{metrics['map']['classes_used']} classes are in use. "
        "Held-out blocks are strips of 20 degrees of longitude that neither the encoder nor the map model saw.</p>",
        "<h2>Learning</h2>",
        image(_curves(out)),
        "<h2>The encoder, measured</h2>",
        _probe_table(metrics["probe"]),
        f"<p><small>Test places in other spatial blocks: {metrics['probe']['test_places']}; "
        f"always the majority class: {metrics['probe']['majority_class']:.1%}. Intervals: 95 %, bootstrap over places. "
        "Colour statistics with gradient boosting are the floor that needs no encoder.</small></p>",
        "<h2>The map, class by class</h2>",
        _class_table(np.array(metrics["map"]["confusion"])),
        "<h2>Repeat each step</h2>",
        f"<pre>{html.escape(chr(10).join(commands))}</pre>",
        "<p>In QGIS: <i>Layer &gt; Add Layer &gt; Add Raster Layer</i>, choose <code>landcover.tif</code>; "
        "names and colours load from <code>landcover.qml</code>. "
        "The model itself runs on any layer with the GeoAware plugin (<code>make plugin</code>).</p>",
    ]
    path = out / "report.html"
    path.write_text(webpage("GeoAware quickstart", body), encoding="utf-8")
    return path


NAMES = "January February March April May June July August September October November December".split()  # noqa: SIM905


def _months(sample: Sample) -> str:
    if len(sample.months) == 12:
        return "January to December"
    return " and ".join(NAMES[month - 1] for month in sorted(sample.months))


def _missing_months(sample: Sample) -> str:
    missing = 12 - len(sample.months)
    if not missing:
        return ""
    return (
        f"<p><b>{missing} months are missing.</b> Only {html.escape(_months(sample))} were to be had here. "
        f"The other {missing} would have added a year of seasons: temporal positives from {12 * 11 // 2} pairs of months instead of "
        f"{len(sample.months) * (len(sample.months) - 1) // 2}, and an average over twelve dates instead of {len(sample.months)} in the all-dates probe.</p>"
    )


def _colours(numbers: np.ndarray) -> np.ndarray:
    """Class values to RGB; no data white."""
    palette = np.full((256, 3), 255, np.uint8)
    for entry in IGBP:
        palette[entry.value] = [int(entry.color[i : i + 2], 16) for i in (0, 2, 4)]
    return palette[numbers]


def _map_figure(path: Path, sample: Sample) -> Figure:
    shape = (900, 1800)
    pictures = []
    for source in (path, sample.labels):
        with rasterio.open(source) as dataset:
            pictures.append(dataset.read(1, out_shape=shape, resampling=Resampling.nearest))
    figure, axes = plt.subplots(2, 1, figsize=(11, 12.2), layout="constrained")
    for axis, numbers, title in zip(
        axes, pictures, ("GeoAware, from one month of imagery", "Reference: MODIS land cover 2019")
    ):
        axis.imshow(_colours(numbers), extent=(-180, 180, -90, 90), interpolation="nearest")
        axis.set(title=title, xticks=range(-180, 181, 60), yticks=range(-90, 91, 30))
        axis.tick_params(labelsize=8)
    present = [entry for entry in IGBP if (pictures[0] == entry.value).any() or (pictures[1] == entry.value).any()]
    handles = [
        Patch(facecolor=f"#{entry.color}", edgecolor="#666", linewidth=0.4, label=entry.name) for entry in present
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    return figure


def _curves(out: Path) -> Figure:
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.4), layout="constrained")
    learned = pd.read_csv(out / "pretrain" / "logs" / "metrics.csv")
    tuned = pd.read_csv(out / "finetune" / "logs" / "metrics.csv")
    panels = (
        (learned, ("contrast", "geo"), "Pretraining: losses, nats"),
        (learned, ("geo_accuracy", "feature_std"), "Geo accuracy, spread of features"),
        (learned, ("val_knn",), "kNN on validation places, one date"),
        (tuned, ("loss", "val_accuracy"), "Fine-tuning"),
    )
    for axis, (table, columns, title) in zip(axes, panels):
        for column in columns:
            if column in table:
                series = table[["step", column]].dropna()
                axis.plot(
                    series["step"],
                    series[column],
                    marker="o" if len(series) < 20 else None,
                    label=column.replace("_", " "),
                )
        axis.set(title=title, xlabel="step")
        axis.title.set_fontsize(10)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    return figure


def _probe_table(probe: dict) -> str:
    rows = ["<table><tr><th>protocol</th><th>features</th><th>classifier</th><th>accuracy</th><th>macro-F1</th></tr>"]
    for dates in (dates for dates in DATES if dates in probe):
        for name in METHODS:
            for kind, measured in probe[dates].get(name, {}).items():
                rows.append(
                    f"<tr><td>{words(dates)}</td><td>{words(name)}</td><td>{kind}</td>"
                    f"<td>{_percent(measured['accuracy'])}</td><td>{_percent(measured['macro_f1'])}</td></tr>"
                )
    return "".join(rows) + "</table>" + _retrieval_table(probe.get("retrieval"))


def _retrieval_table(retrieval: dict | None) -> str:
    if retrieval is None:
        return ""
    rows = [
        f"<p>Found again at another date, among {retrieval['places']} test places, without labels:</p>"
        "<table><tr><th>features</th><th>first</th><th>among the first 10</th></tr>"
    ]
    for name in METHODS:
        if name in retrieval:
            one, ten = retrieval[name]["recall_at_1"], retrieval[name]["recall_at_10"]
            rows.append(f"<tr><td>{words(name)}</td><td>{_percent(one)}</td><td>{_percent(ten)}</td></tr>")
    chance = retrieval["chance"]
    rows.append(
        f"<tr><td>chance</td><td>{chance['recall_at_1']:.1%}</td><td>{chance['recall_at_10']:.1%}</td></tr></table>"
    )
    return "".join(rows)


def _percent(score: dict) -> str:
    return f"{score['value']:.1%} <small>({score['low']:.1%} to {score['high']:.1%})</small>"


def _class_table(confusion: np.ndarray) -> str:
    rows = [
        "<table><tr><th>class</th><th>share of the reference</th><th>found of it</th><th>right where said</th></tr>"
    ]
    for number, entry in enumerate(IGBP):
        truth, said, hits = confusion[number].sum(), confusion[:, number].sum(), confusion[number, number]
        if truth:
            swatch = f'<span style="display:inline-block;width:1em;height:1em;background:#{entry.color};border:1px solid #999"></span>'
            right = f"{hits / said:.1%}" if said else "never said"
            rows.append(
                f"<tr><td>{swatch} {entry.name}</td><td>{truth / confusion.sum():.1%}</td><td>{hits / truth:.1%}</td><td>{right}</td></tr>"
            )
    return "".join(rows) + "</table>"
