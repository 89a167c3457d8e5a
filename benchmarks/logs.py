"""Training speed from a run's TensorBoard log."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Log = dict[str, list[tuple[int, float, float]]]  # by name: step, wall clock in s, value


def read_log(folder: Path) -> Log:
    """All scalars of the TensorBoard files below a folder."""
    log: Log = {}
    for path in {file.parent for file in folder.rglob("events.out.tfevents.*")}:
        events = EventAccumulator(str(path)).Reload()
        for name in events.Tags()["scalars"]:
            log[name] = [(entry.step, entry.wall_time, entry.value) for entry in events.Scalars(name)]
    return log


def pairs_per_second(log: Log, name: str, batch: int) -> float:
    """From the first logged step to the last."""
    (first, start, _), (last, end, _) = log[name][0], log[name][-1]
    if last == first:
        raise SystemExit("too few steps to time: give a larger --side or a smaller --batch")
    return batch * (last - first) / (end - start)


class ProcessorTime(Logger):
    """Notes the processor time of this process, s, at each logged step: ``marks`` of the newest logger."""

    marks: list[tuple[int, float]]

    def __init__(self) -> None:
        super().__init__()
        ProcessorTime.marks = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """A logged step."""
        ProcessorTime.marks.append((step or 0, time.process_time()))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Of no interest."""

    @property
    def name(self) -> str:
        """Of no interest."""
        return "processor"

    @property
    def version(self) -> int:
        """Of no interest."""
        return 0
