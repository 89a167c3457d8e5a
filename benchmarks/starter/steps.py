"""Runs the unfinished steps of a recipe, and records the equivalent command of each."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.learning.stores import prepare
from core.errors import UserError
from core.method.views import Views
from core.training.finetune import finetune
from core.training.pretrain import pretrain
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
        newest: when the latest of them was done, seconds since 1970.
    """

    work: Path
    device: str = "auto"
    lines: list[str] = field(default_factory=list)
    newest: float = 0.0

    def store(self, name: str, *options: object) -> Path:
        """Make a chip store."""
        out = self.work / name
        arguments = [*options, "--out", out]
        made = out / "store.json"
        if self._is_to_do(name, made, "core.prepare", *arguments):
            shutil.rmtree(out, ignore_errors=True)
            prepare(*arguments)
        self._done(made)
        return out

    def train(self, command: str, data: Path, name: str, **options: object) -> Path:
        """Pretrain or fine-tune, or go on with it; what came of it.

        Raises:
            UserError: it was stopped.
        """
        out = self.work / name
        made = out / _MADE[command]
        given = {"data": data, "out": out} | options
        if self._is_to_do(name, made, "core.train", command, *_as_options(given)):
            begun = self._is_later(out / "last.ckpt")
            _TRAIN[command](**given, device=self.device, resume=begun, overwrite=True)
            if not made.is_file():
                raise UserError(f"{out}: was stopped; give the same command to go on")
            (out / "last.ckpt").unlink(missing_ok=True)  # a finished run is not gone on with
        self._done(made)
        return made

    def export(
        self, source: Path, data: Path, file: str, title: str, task: str | None = None, dense: bool = False
    ) -> Path:
        """Export in 8-bit integers, also where that is not twice as fast: these files must be small."""
        out = self.work / file
        chosen = ["--task", task] if task else []
        form = ["--dense"] if dense else []
        line = [source, *chosen, *form, "--data", data, "--out", out, "--name", title, "--int8", "--force"]
        made = out.with_suffix(".mlm.json")
        if self._is_to_do(out.name, made, "export.to_onnx", *line):
            export_onnx(source, out, data, name=title, dense=dense, int8=True, force=True, task=task)
        self._done(made)
        return out

    def _is_to_do(self, name: str, made: Path, module: str, *arguments: object) -> bool:
        """Whether it is missing, was made by another command, or is older than what it is made from."""
        line = shlex.join(["python", "-m", module, *map(str, arguments)]).replace(str(self.work), PLACE)
        self.lines.append(line)
        note = self.work / f"{name}.command"
        same = note.is_file() and note.read_text("utf-8") == line
        if same and self._is_later(made):
            print(f"{made}: is there", flush=True)
            return False
        print(f"\n$ {line}", flush=True)
        if not same:
            (made.parent / "last.ckpt").unlink(missing_ok=True)  # of another command: not to go on with
        self.work.mkdir(parents=True, exist_ok=True)
        note.write_text(line, "utf-8")
        return True

    def _is_later(self, made: Path) -> bool:
        return made.is_file() and made.stat().st_mtime >= self.newest

    def _done(self, made: Path) -> None:
        self.newest = max(self.newest, made.stat().st_mtime)


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
