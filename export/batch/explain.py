"""What a run over a raster will do and why, without running it: ``export.predict --explain``."""

from __future__ import annotations

import tempfile
import textwrap
import time
from contextlib import closing
from pathlib import Path

from export.batch.inputs import Raster
from export.batch.run import block_side, blocks, placed
from export.rasterio_io.dated import open_input
from export.rasterio_io.run import Request, notes_of, reading
from export.runtime.files import free_memory
from export.runtime.infer.explain import Fact, facts, said
from export.runtime.infer.inputs.series import opened
from export.runtime.infer.job import Job
from export.runtime.infer.layout import Layout
from export.runtime.infer.scenes import cell_size
from export.runtime.infer.timing.estimate import estimated
from export.runtime.infer.timing.trial import decided
from export.runtime.messages import Message
from export.runtime.model.session import Model
from export.wording import words

_WIDTH = 120  # columns of the text


def explained(
    model: Model, raster: Raster, request: Request, out: Path, side: int | None, opening: float
) -> tuple[list[Fact], list[Message]]:
    """The facts of a run, and what the user should read before it. Runs the first tiles, for the time.

    ``side`` is that of blocks in px, 0 for one that fits, None for a run in one piece; ``opening`` how many seconds the model
    took to load.

    Raises:
        RuntimeFault: the run would be refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        where, scenes = placed(raster, lambda _, number=0: Path(folder) / f"input_{number}.vrt")
        with reading(*raster.read):
            cut = []
            if side is not None:
                with closing(open_input(where, scenes, request.area)) as pixels:
                    options = request.on(pixels)
                    source = opened(pixels, model.card, options.choice)
                    layout = Layout(source, model.card, options, cell_size(model, options.run))
                    side = side or block_side(model, layout, options.run, free_memory())
                    cut = blocks(model, layout, options.run, side)
            begun = time.perf_counter()
            with closing(open_input(where, scenes, request.area)) as pixels:
                targets = request.targets(out / raster.name, model.card.task)
                targets.check(request.sources(pixels))
                with closing(Job(model, pixels, request.on(pixels), cut[0] if cut else None)) as job:
                    job = decided(job)
                    notes = notes_of(job, request)
                    opening += time.perf_counter() - begun
                    estimate = estimated(job, opening, lambda: True)
                    files = [path.name for path in targets.paths]
                    return facts(job, files, targets.files, estimate, len(cut)), notes


def text_of(where: str, lines: list[Fact]) -> str:
    """The facts of a raster as aligned text: a label, what is done, and below it why."""
    rows = said(lines, words)
    wide = max(len(label) for label, _, _ in rows) + 4
    text = [where]
    for label, value, why in rows:
        for first, part in ((f"  {label}", value), ("", f"({why})" if why else "")):
            if part:
                text.append(
                    textwrap.fill(
                        part, _WIDTH, initial_indent=first.ljust(wide), subsequent_indent=" " * wide,
                        break_long_words=False, break_on_hyphens=False,
                    )
                )  # fmt: skip
    return "\n".join(text)
