"""Compares a map with the labelled points of a sample file: accuracy and areas, without the map where it is that of the sample."""

from __future__ import annotations

import numpy as np

from ..errors import InputFault
from ..messages import Message
from ..raster.legend import class_name
from ..results.assessment import Report, SampledStratum, class_numbers, report_of, sampled_areas
from ..results.estimates import StratifiedCounts
from .sample_file import SampleFile


def assess_sample(
    sample: SampleFile, found: np.ndarray | None = None, mapped: dict[int, float] | None = None
) -> Report:
    """Compare the map of a sample with its points, or another one of the same area.

    Args:
        sample: as read from a file; points without an answer do not count.
        found: (N,) class of the points on the other map, -1 outside it or on nodata.
        mapped: square metres of the classes of the other map.

    Raises:
        InputFault: no point has an answer or lies on the map, or an answer is no class.
    """
    names = {one.value: one.name for one in sample.classes}
    answered = np.array([bool(class_name(point.answer)) for point in sample.points], bool)
    notes = []
    if not answered.any():
        raise InputFault("sample_none_labelled", where=sample.path)
    if not answered.all():
        notes.append(Message("sample_unlabelled", {"count": int((~answered).sum()), "total": len(answered)}))
    on_map = np.array([point.mapped for point in sample.points]) if found is None else found
    counted = answered & (on_map >= 0)
    if not counted.any():
        raise InputFault("sample_outside", where=sample.path)
    if not (on_map[answered] >= 0).all():
        outside = int((on_map[answered] < 0).sum())
        notes.append(Message("sample_partly_outside", {"count": outside, "total": int(answered.sum())}))
    points = [point for point, counts in zip(sample.points, counted) if counts]
    truth = class_numbers(str(sample.path), "class", [point.answer for point in points], names)
    areas = {value: m2 for value, (_, m2) in sample.mapped.items()} if mapped is None else mapped
    classes = sorted({*areas, *truth.tolist(), *on_map[counted].tolist()})
    index = {value: at for at, value in enumerate(classes)}
    stratum = np.array([point.stratum for point in points])
    rows, columns = (np.array([index[value] for value in values.tolist()]) for values in (on_map[counted], truth))
    units = np.zeros((len(sample.strata), len(classes), len(classes)), np.int64)
    np.add.at(units, (stratum, rows, columns), 1)

    whole = np.array([one.m2 for one in sample.strata])
    by_truth = units.sum(axis=1)
    weighed = sampled_areas(by_truth, whole, [one.name for one in sample.strata], notes, drawn=True)
    own = [index.get(one.value, -1) if found is None else -1 for one in sample.strata]
    pixels = np.array([one.pixels for one in sample.strata], float)
    of_map = np.array([areas.get(value, 0.0) for value in classes])
    right = np.bincount(stratum[rows == columns], minlength=len(sample.strata))
    strata = tuple(
        SampledStratum(one.name, one.m2, one.points, int(by_truth[at].sum()), int(right[at]))
        for at, one in enumerate(sample.strata)
    )
    counts = StratifiedCounts(units, weighed, np.array(own), pixels)
    return report_of(counts, classes, names, of_map, notes, strata)
