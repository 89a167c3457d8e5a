"""What a part found: figures and failures, written to OUT/PART.json whenever one is added, and the summary of all parts."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DONE, FAILED, RUNNING, CUT = "done", "failed", "running", "cut off"


@dataclass(frozen=True)
class Setup:
    """Where and how large.

    Attributes:
        out: folder of the results.
        work: folder of stores and runs, not kept.
        stage: unpacked folder of ``stage.py``, or None.
        small: tiny networks and few steps, as a test.
        device: cuda or cpu.
        seconds: that the part may take; what is to fill its time is planned by it.
    """

    out: Path
    work: Path
    stage: Path | None
    small: bool
    device: str
    seconds: float

    @property
    def arch(self) -> str:
        """Of encoders."""
        return "resnet18" if self.small else "resnet50"


@dataclass
class Notes:
    """The record of one part.

    Attributes:
        path: of its JSON file.
        figures: by name; of tables lists of rows.
        failures: what was tried, the error and its traceback.
    """

    path: Path
    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    state: str = RUNNING
    began: float = field(default_factory=time.monotonic)
    lock: threading.RLock = field(default_factory=threading.RLock)  # answers come from other threads

    @property
    def seconds(self) -> float:
        """Since the part began."""
        return time.monotonic() - self.began

    def add(self, **figures: Any) -> None:
        """Keep figures, and write the file: what is known survives a cut-off."""
        for name, value in figures.items():
            print(f"{name}: {value}", flush=True)
        with self.lock:
            self.figures |= figures
            self.write()

    def fail(self, what: str, error: str, trace: str = "") -> None:
        """Keep a failure."""
        print(f"FAILED {what}: {error}\n{trace}", flush=True)
        with self.lock:
            self.failures.append({"what": what, "error": error, "traceback": trace})
            self.write()

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Go on with the next measurement when one fails; the failure is kept."""
        try:
            yield
        except (Exception, SystemExit) as error:
            self.fail(what, f"{type(error).__name__}: {error}", traceback.format_exc())

    def write(self) -> None:
        """Write the file as a whole."""
        content = {"part": self.path.stem, "state": self.state, "seconds": round(self.seconds, 1)}
        partial = self.path.with_suffix(".json.partial")
        text = json.dumps(content | {"figures": self.figures, "failures": self.failures}, indent=1, default=str)
        partial.write_text(text + "\n")
        partial.replace(self.path)


def run_part(measure: Callable[[Setup, Notes], None], name: str, setup: Setup) -> bool:
    """Run a part in this process; whether nothing failed."""
    notes = Notes(setup.out / f"{name}.json")
    notes.write()
    with notes.attempt(name):
        measure(setup, notes)
    notes.state = FAILED if notes.failures else DONE
    notes.write()
    return not notes.failures


def read(out: Path, name: str) -> dict[str, Any]:
    """The record of a part; empty where it left none."""
    path = out / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def end(out: Path, name: str, code: int | None, seconds: float) -> dict[str, Any]:
    """Complete the record of a part whose process has ended: by itself with a code, or at its limit (None)."""
    record = read(out, name) or {"part": name, "figures": {}, "failures": []}
    if record.get("state") not in (DONE, FAILED):
        record["state"] = CUT if code is None else FAILED
        how = f"stopped at its limit of {seconds:.0f} s" if code is None else f"its process ended with code {code}"
        record["failures"].append({"what": name, "error": how, "traceback": f"see {name}.log"})
        record["seconds"] = round(seconds, 1)
        (out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    return record


def write_summary(out: Path, names: list[str], head: list[str]) -> None:
    """Rewrite OUT/summary.md from the parts that have ended."""
    lines = ["# What ran", "", *head, "", "| part | state | seconds | failures |", "|---|---|---|---|"]
    records = {name: read(out, name) for name in names}
    for name, record in records.items():
        count = len(record.get("failures", []))
        lines.append(f"| {name} | {record.get('state', 'not started')} | {record.get('seconds', '')} | {count} |")
    for name, record in records.items():
        if record:
            lines += ["", f"## {name}", ""]
            lines += [f"- {key}: {_shown(value)}" for key, value in record["figures"].items()]
            lines += [f"- **failed**, {entry['what']}: {entry['error'][:400]}" for entry in record["failures"]]
    (out / "summary.md").write_text("\n".join(lines) + "\n")


def _shown(value: Any) -> str:
    """A figure on one line, or a table below it."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return "".join("\n  - " + ", ".join(f"{key} {cell}" for key, cell in row.items()) for row in value)
    return str(value)
