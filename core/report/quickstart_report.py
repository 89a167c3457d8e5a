"""The quickstart's report: one HTML page."""

from __future__ import annotations

import calendar
import html
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from core.evaluation.scores import per_class
from core.report.encoder_report import encoder_sections
from core.report.pictures import class_colours
from core.report.webpage import class_cell, curves, html_table, image, tile, webpage
from core.sources.sample import IGBP, Sample
from core.store.read import ChipStore


def write_report(out: Path, sample: Sample, metrics: dict, commands: list[str]) -> Path:
    """Write report.html and map.png into the quickstart's folder, from the metrics, commands and logs of all steps."""
    picture = _map_figure(out / "landcover.tif", sample)
    picture.savefig(out / "map.png", dpi=110)
    probe, tuning, agreement = metrics["probe"], metrics["finetune"], metrics["map"]["all_pixels"]
    knn = probe["all_dates"]
    gain = knn["advantage_over_untrained"]["knn"]
    body = [
        "<h1>GeoAware quickstart</h1>",
        f"<small>{len(sample.months)} months of NASA Blue Marble 2004, {metrics['places']} places, "
        f"{metrics['images']} chips; labels: MODIS land cover 2019 (IGBP); {metrics['seconds'] // 60} min {metrics['seconds'] % 60} s</small>",
        "" if len(sample.months) == 12 else _missing_months(sample),
        '<div class="big">',
        tile(
            knn["trained"]["knn"]["accuracy"]["value"],
            f"kNN accuracy of the encoder's features over all dates; untrained: {knn['untrained']['knn']['accuracy']['value']:.1%}",
        ),
        tile(gain["value"], f"gain over the untrained encoder (95 % interval {gain['low']:.1%} to {gain['high']:.1%})"),
        tile(
            agreement["accuracy"],
            f"of the map's pixels in held-out blocks agree with MODIS; majority class: {agreement['majority_class']:.1%}",
        ),
        "</div>",
        "<h2>Map and reference</h2>",
        image(picture),
        f"<p>Predicted from {_months_text(sample)}, trained with the labels of "
        f"{tuning['labelled_places']} places. {metrics['map']['classes_used']} classes occur in the map. "
        "Held-out blocks are strips of 20 degrees of longitude used neither for the encoder nor for the map model.</p>",
        "<h2>Training</h2>",
        image(_curves(out)),
        "<h2>Is the encoder worth using?</h2>",
        *encoder_sections(out / "probe", ChipStore(out / "store")),
        "<h2>Metrics per class of the map</h2>",
        _class_table(np.array(metrics["map"]["confusion"])),
        "<h2>Commands of each step, and the minutes that it took</h2>",
        f"<pre>{html.escape(chr(10).join(commands))}</pre>",
        "<p>In QGIS: <i>Layer &gt; Add Layer &gt; Add Raster Layer</i>, choose <code>landcover.tif</code>; "
        "names and colours load from <code>landcover.qml</code>. "
        "The model itself runs on any layer with the GeoAware plugin (<code>make plugin</code>).</p>",
    ]
    path = out / "report.html"
    path.write_text(webpage("GeoAware quickstart", body), encoding="utf-8")
    return path


def _months_text(sample: Sample) -> str:
    return "one month" if len(sample.months) == 1 else f"{len(sample.months)} months"


def _missing_months(sample: Sample) -> str:
    count, names = len(sample.months), " and ".join(calendar.month_name[month] for month in sorted(sample.months))
    return (
        f"<p><b>{12 - count} months are missing.</b> Only {names} were available. With all twelve, temporal "
        f"positives come from {12 * 11 // 2} pairs of months instead of {count * (count - 1) // 2}, and the all-dates probe "
        f"averages twelve dates instead of {count}.</p>"
    )


def _map_figure(path: Path, sample: Sample) -> Figure:
    maps = []
    for source in (path, sample.labels):
        with rasterio.open(source) as dataset:
            rows, columns = ((np.arange(count) + 0.5) * side / count for count, side in zip((900, 1800), dataset.shape))
            maps.append(dataset.read(1)[np.ix_(rows.astype(int), columns.astype(int))])  # not from overviews
    palette = np.full((256, 3), 255, np.uint8)  # nodata is white
    palette[[entry.value for entry in IGBP]] = class_colours(IGBP)
    figure = Figure(figsize=(11, 12.2), layout="constrained")
    titles = (f"GeoAware, from {_months_text(sample)} of imagery", "Reference: MODIS land cover 2019")
    for axis, numbers, text in zip(figure.subplots(2, 1), maps, titles):
        axis.imshow(palette[numbers], extent=(-180, 180, -90, 90), interpolation="nearest")
        axis.set(title=text, xticks=range(-180, 181, 60), yticks=range(-90, 91, 30))
        axis.tick_params(labelsize=8)
    handles = [
        Patch(facecolor=f"#{entry.color}", edgecolor="#666", linewidth=0.4, label=entry.name)
        for entry in IGBP
        if any((numbers == entry.value).any() for numbers in maps)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    return figure


def _curves(out: Path) -> Figure:
    pretraining, tuning = (pd.read_csv(out / name / "logs" / "metrics.csv") for name in ("pretrain", "finetune"))
    panels = (
        (pretraining, ("contrast", "geo"), "Pretraining: losses, nats"),
        (pretraining, ("geo_accuracy", "feature_std"), "Geo accuracy, standard deviation of features"),
        (pretraining, ("val_knn",), "kNN on validation places, one date"),
        (tuning, ("loss", "val_accuracy"), "Fine-tuning"),
    )
    return curves(panels, width=14)


def _class_table(confusion: np.ndarray) -> str:
    rows = [
        (
            class_cell(entry.name, entry.color),
            f"{row['support'] / confusion.sum():.1%}",
            f"{row['recall']:.1%}",
            "never predicted" if row["precision"] is None else f"{row['precision']:.1%}",
        )
        for entry, row in zip(IGBP, per_class(confusion, [entry.name for entry in IGBP]))
        if row["support"]
    ]
    return html_table(("class", "share of the reference", "recall", "precision"), rows)
