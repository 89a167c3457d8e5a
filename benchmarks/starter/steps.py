"""Runs the steps of a recipe that are still to do, and keeps the command that does the same for each."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.learning.stores import prepare
from core.errors import UserError
from core.finetune import finetune
from core.pretrain import pretrain
from core.views import Views
from export.to_onnx import export_onnx

PLACE = "build/starter"  # what the commands call the working folder, wherever it was
_MADE = {"pretrain": "encoder.safetensors", "finetune": "model.safetensors"}
_TRAIN: dict[str, Callable[..., Any]] = {"pretrain": pretrain, "finetune": finetune}


@dataclass
class Steps:
    """The steps of one recipe.

    Attributes:
        work: folder for stores, runs and models.
        device: as ``pretrain`` takes it.
        lines: of the steps, done now or before.
    """

    work: Path
    device: str = "auto"
    lines: list[str] = field(default_factory=list)

    def store(self, name: str, *options: object) -> Path:
        """Make a chip store."""
        out = self.work / name
        arguments = [*options, "--out", out]
        if self._is_to_do(out, "core.prepare", *arguments):
            prepare(*arguments)
        return out

    def train(self, command: str, data: Path, name: str, **options: object) -> Path:
        """Pretrain or fine-tune, or go on with it; what came of it.

        Raises:
            UserError: it was stopped.
        """
        out = self.work / name
        made = out / _MADE[command]
        given = {"data": data, "out": out} | options
        if not self._is_to_do(made, "core.train", command, *_as_options(given)):
            return made
        _TRAIN[command](**given, device=self.device, resume=(out / "last.ckpt").is_file(), overwrite=True)
        if not made.is_file():
            raise UserError(f"{out}: was stopped; give the same command to go on")
        (out / "last.ckpt").unlink(missing_ok=True)  # a finished run is not gone on with
        return made

    def export(self, source: Path, data: Path, file: str, title: str, task: str | None = None) -> Path:
        """Export in 8-bit integers, also where that is not twice as fast: these files must be small."""
        out = self.work / file
        chosen = ["--task", task] if task else []
        line = [source, *chosen, "--data", data, "--out", out, "--name", title, "--int8", "--force"]
        if self._is_to_do(out.with_suffix(".mlm.json"), "export.to_onnx", *line):
            export_onnx(source, out, data, name=title, int8=True, force=True, task=task)
        return out

    def _is_to_do(self, made: Path, module: str, *arguments: object) -> bool:
        self.lines.append(shlex.join(["python", "-m", module, *map(str, arguments)]).replace(str(self.work), PLACE))
        if made.exists():
            print(f"{made}: is there", flush=True)
            return False
        print(f"\n$ {self.lines[-1]}", flush=True)
        return True


def _as_options(given: dict[str, object]) -> list[object]:
    """As ``core.train`` takes them."""
    options: list[object] = []
    for name, value in given.items():
        if isinstance(value, Views):  # the parts that are not as they always are
            changed = {part: of for part, of in asdict(value).items() if of != getattr(Views(), part)}
            options += [text for part, of in changed.items() for text in (f"--{name}.{part}", of)]
        else:
            options += [f"--{name.replace('_', '-')}", value]
    return options
