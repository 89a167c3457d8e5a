"""How many tiles a second each provider of this computer runs of a model, on noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ...errors import Cancelled, ModelFault
from ...messages import Message
from ...model.providers import CPU, candidates, runner_of
from ...model.session import Model

SECONDS = 2.0  # of each measurement


@dataclass(frozen=True)
class Speed:
    """Of one provider.

    Attributes:
        runner: as ``Model.runner``.
        tiles: a second, all threads at work; 0 where it does not run the model.
        ratio: to onnxruntime on the CPU in fp32.
        fault: why it does not run the model.
    """

    runner: str
    tiles: float = 0.0
    ratio: float = 0.0
    fault: Message | None = None


def speeds(model: Model, keep_going: Callable[[], bool] = lambda: True) -> Iterator[Speed]:
    """One after the other; onnxruntime on the CPU in fp32 first.

    Raises:
        ModelFault: that does not run the model.
        Cancelled: ``keep_going`` returned False.
    """
    base = model.on(CPU)
    first = _tiles(base, keep_going)
    yield Speed(base.runner, first, 1.0)
    for provider, precision in candidates():
        if not keep_going():
            raise Cancelled()
        try:
            found = _tiles(base.on(provider, precision), keep_going)
        except ModelFault as fault:
            yield Speed(runner_of(provider, precision), fault=fault.message)
        else:
            yield Speed(runner_of(provider, precision), found, found / first)


def _tiles(model: Model, keep_going: Callable[[], bool]) -> float:
    """Tiles a second; a call that runs when ``keep_going`` ends is waited for."""
    call = model.on_noise()
    with ThreadPoolExecutor(model.threads) as pool:

        def round_of(count: int) -> None:
            for done in [pool.submit(call) for _ in range(count)]:
                if not keep_going():
                    pool.shutdown(cancel_futures=True)
                    raise Cancelled()
                done.result()

        round_of(model.threads)  # the first calls are slow
        count, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < SECONDS:
            round_of(2 * model.threads)
            count += 2 * model.threads * model.batch
        return count / (time.perf_counter() - begun)
