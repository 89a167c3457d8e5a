"""Chooses what runs a model: the fastest provider whose answers agree with the CPU's, tried on tiles of the raster itself."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import Cancelled, ModelFault
from ...messages import Message
from ...model.devices.known import Known
from ...model.devices.openvino import OPENVINO, is_openvino
from ...model.providers import CPU, available, candidates, provider_of, runner_of
from ...model.session import Model
from ...raster.window import TileGrid, Window
from ..inputs.tile import any_valid
from ..job import Job, tile_grid
from ..objects import boxes_of
from ..sweep import Scan, place_grid, unit_of
from .agreement import Agreement, SampleAnswers
from .boxes import LEAST, SampleBoxes

TILES = 16  # that a reduced precision is compared on, spread over the raster
TIMED = 4  # on which OpenVINO in fp32 is timed, and compared
WORTH = 64  # tiles of a run from which on a trial costs less than it may save
FASTER = 1.1  # times the CPU's speed, below which other last bits are not worth it
_TOLD = ("trial_chosen", "trial_kept", "trial_sides")
_LOOKED_AT = 4 * TILES  # tiles that are read to find such as hold data


def decided(job: Job, keep_going: Callable[[], bool] = lambda: True) -> Job:
    """The job, run by the provider that ``auto`` stands for; itself where one was named.

    What a trial finds is kept for the next run of the model on this computer: the same raster is not tried again, and on
    others only what was faster. Short runs stay on the CPU.

    Raises:
        RuntimeFault: the raster cannot be read, or the model fails on the CPU.
        Cancelled: ``keep_going`` returned False.
    """
    if not job.model.undecided:
        return job
    base, scan, grid = job.model.on(CPU), job.scan(), _grid(job)
    reason = _why_not(job, grid)
    windows, digest = ([], "") if reason else _sample(scan, grid)
    if not reason and len(windows) < TILES:
        reason = Message("trial_empty", {"count": len(windows), "needed": TILES})
    if reason:
        return job.run_by(base, reason)
    known = Known.of(base.file, base.threads)
    if digest in known.rasters:
        try:
            why = _remembered(known.rasters[digest], job.card.task)
            return job.run_by(base.on(*provider_of(why.fields.get("runner", CPU)), tried=True), why)
        except (ModelFault, KeyError, TypeError, ValueError):  # it is gone, or somebody changed the file
            del known.rasters[digest]
    model, why, against = _Trial(scan, base, windows, known, keep_going).run()
    facts = {name: value for name, value in why.fields.items() if name != "found"}
    known.rasters[digest] = {"runner": model.runner, "kind": why.kind, "facts": facts}
    known.save()
    return job.run_by(model, why, against)


def told(job: Job) -> list[Message]:
    """What the user should read unasked of what runs a job: what a trial found. None of it is a warning."""
    return [*job.against, *([job.why] if job.why and job.why.kind in _TOLD else [])]


def _facts(runner: str, ratio: float, agreement: Agreement, count: int) -> dict[str, Any]:
    """What a trial found of a provider on so many tiles: numbers, and a sentence with those that count (``found``)."""
    found = agreement.said(count)
    return {"runner": runner, "ratio": ratio, **found.fields, "found": found}


def _remembered(entry: dict[str, Any], task: str) -> Message:
    """Why something runs a raster, as the trial said it."""
    facts = entry["facts"]
    if entry["kind"] == "trial_kept":
        return Message("trial_kept")
    if entry["kind"] == "trial_boxes":
        return Message("trial_boxes", {name: int(facts[name]) for name in ("count", "tiles", "least")})
    agreement = Agreement(task, float(facts["equal"]), float(facts["apart"]))
    return Message("trial_chosen", _facts(str(entry["runner"]), float(facts["ratio"]), agreement, int(facts["count"])))


def _grid(job: Job) -> TileGrid:
    """The tiles of the run, in places of ``unit_of(model)`` px."""
    seen = job.layout.seen
    grid = tile_grid(job.layout, job.card, job.run)
    if job.model.dense or grid is None:
        return place_grid(job.model, seen.height, seen.width, job.run)
    return grid


def _why_not(job: Job, grid: TileGrid) -> Message | None:
    """Why nothing is tried; None: something is."""
    if not job.source.sampled:
        return Message("trial_service")
    count = round(len(grid) * job.share_touched())
    if count < WORTH:
        return Message("trial_short", {"count": count, "least": WORTH})
    if available() == [CPU]:  # asked last: OpenVINO takes a third of a second to import
        return Message("trial_alone")
    return None


def _sample(scan: Scan, grid: TileGrid) -> tuple[list[Window], str]:
    """Tiles with data, spread over the raster: as many as are compared, or all that are found.

    And a checksum of all that the answers depend on, but for the file of the model.
    """
    unit = unit_of(scan.model)
    places = [(top * unit, left * unit) for top in grid.tops for left in grid.lefts]
    order = np.linspace(0, len(places) - 1, min(_LOOKED_AT, len(places))).astype(int)
    found: list[Window] = []
    digest = hashlib.sha256(repr((scan.model.card, scan.model.output, scan.options.tta)).encode())
    for number in np.concatenate([order[first::4] for first in range(4)]):  # a quarter, from everywhere, then the next
        top, left = places[number]
        (window,) = scan.windows([top], [left], grid.tile_size * unit)
        tile = scan.tile(window)
        if tile.pixels is not None:
            found.append(window)
            digest.update(np.ascontiguousarray(tile.pixels))
            digest.update(np.ascontiguousarray(tile.mask))
        if len(found) == TILES:
            break
    return found, digest.hexdigest()


@dataclass
class _Trial:
    """A trial of all providers on the same tiles of a raster."""

    scan: Scan
    base: Model
    windows: list[Window]
    known: Known
    keep_going: Callable[[], bool]

    def run(self) -> tuple[Model, Message, list[Message]]:
        """The model on the best provider, why, and what spoke against others."""
        against: list[Message] = []
        there = (one for one in candidates() if not (self.base.loops and is_openvino(one[0])))
        tried = [one for one in there if self.known.ratios.get(runner_of(*one), FASTER) >= FASTER]
        best, fastest, why = self.base, FASTER, Message("trial_kept")
        if not tried:
            return best, why, against
        exact = (OPENVINO, "fp32")  # others may calculate in less, whatever they are asked for
        few = self.windows if self.base.card.task == "detection" else self.windows[:TIMED]
        reference = self._asked(self.base, few if tried == [exact] else self.windows)
        if isinstance(reference, SampleBoxes) and reference.count < LEAST:
            facts = {"count": reference.count, "tiles": len(self.windows), "least": LEAST}
            return best, Message("trial_boxes", facts), against
        self.base.rest()
        for provider, precision in tried:
            if provider == best.provider:  # in fp32, what it does well in fewer bits
                continue
            windows = few if (provider, precision) == exact else self.windows
            try:
                model = self.base.on(provider, precision)
                answers = self._asked(model, windows)
            except ModelFault as fault:
                against.append(
                    Message("trial_failed", {"runner": runner_of(provider, precision), "reason": fault.message})
                )
                continue
            found = reference.compared(answers)
            # The first time counts: what a busy minute changes must not run one raster of a batch by something else.
            ratio = self.known.ratios.setdefault(model.runner, answers.speed / reference.speed)
            facts = _facts(model.runner, ratio, found, len(windows))
            if not found.holds((provider, precision) == exact):
                against.append(Message("trial_apart", facts))
            elif ratio >= fastest:
                best, fastest, why = model, ratio, Message("trial_chosen", facts)
        return best, why, against

    def _asked(self, model: Model, windows: list[Window]) -> Any:
        scan, boxes = replace(self.scan, model=model, colours=0), model.card.task == "detection"
        said = boxes_of if boxes else _numbers
        with closing(said(scan, windows[:1])) as first:  # the first call of all is slow
            next(first)
        found: Any = SampleBoxes(scan.options.threshold or 0.0) if boxes else SampleAnswers(model.card)
        begun = time.perf_counter()
        with closing(said(scan, windows)) as answers:
            for answer in answers:
                if not self.keep_going():
                    raise Cancelled()
                found.add(answer)
        found.speed = len(windows) / (time.perf_counter() - begun)
        return found


def _numbers(scan: Scan, windows: list[Window]) -> Generator[np.ndarray, None, None]:
    """What a model says of these tiles, which hold data: (K, N) of each, of the N places of it that do."""
    unit = unit_of(scan.model)
    with closing(scan.answers(windows)) as answers:
        for tile, answer in answers:
            assert answer is not None  # nosec B101  # they hold data
            if answer.ndim == 3:
                valid = tile.valid if unit == 1 else any_valid(tile.valid, (unit, unit))
                answer = answer[:, : valid.shape[0], : valid.shape[1]][:, valid]
            yield answer.reshape(len(answer), -1)
