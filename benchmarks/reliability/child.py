"""Runs ``export.predict`` many times in one child process, so that a crash or a hang is detected.

The child reads one list of arguments per line and answers with one line: exit code, output, traceback.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType

ROOT = Path(__file__).parents[2]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GDAL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Ended:
    """How one call of the command ended.

    Attributes:
        code: its exit code; None where the process died or hung.
        stderr: what it printed on stderr.
        fault: "traceback", "crash" with the signal, "hang", or "" where there was none.
    """

    code: int | None
    stderr: str
    fault: str = ""


@dataclass(frozen=True)
class Answers:
    """What became of files that nobody should trust.

    Attributes:
        mapped: gave a map.
        refused: gave one sentence.
        problems: what was wrong, a sentence each; empty is good.
    """

    mapped: int
    refused: int
    problems: list[str]

    @classmethod
    def of(cls, answers: list[Ended], problems: list[str]) -> Answers:
        """Count how the calls ended; those that died or hung are neither."""
        codes = [ended.code for ended in answers]
        return cls(codes.count(0), len([code for code in codes if code]), problems)


class Predictor:
    """A process that runs the command again and again; a new one is started when it dies."""

    def __init__(self, limit: float) -> None:
        """Give each call so many seconds."""
        self.limit = limit
        self._process: subprocess.Popen | None = None
        self._lines: Queue[str] = Queue()

    def __call__(self, *arguments: object) -> Ended:
        """Run ``export.predict`` with these arguments."""
        process = self._process or self._start()
        assert process.stdin is not None
        process.stdin.write(json.dumps([str(one) for one in arguments]) + "\n")
        process.stdin.flush()
        try:
            line = self._lines.get(timeout=self.limit)
        except Empty:
            self._stop()
            return Ended(None, "", f"hang: nothing after {self.limit:g} s")
        if not line:
            code = process.wait()
            self._stop()
            return Ended(None, "", f"crash: signal {-code}" if code < 0 else f"crash: exit {code}")
        return Ended(**json.loads(line))

    def _start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "benchmarks.reliability.child"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | ONE_THREAD, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        lines = self._lines = Queue()  # of this process alone

        def listen(stream: io.TextIOBase) -> None:
            for line in stream:
                lines.put(line)
            lines.put("")

        self._listener = threading.Thread(target=listen, args=(self._process.stdout,), daemon=True)
        self._listener.start()
        return self._process

    def _stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._listener.join()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(BrokenPipeError):  # what it did not read before it died
                    pipe.close()  # type: ignore[union-attr]
            self._process = None

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()


def main() -> None:
    """Serve calls until stdin ends."""
    from export import predict

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    for line in sys.stdin:
        sys.argv = ["export.predict", *json.loads(line)]
        stderr, fault, code = io.StringIO(), "", None
        with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
            try:
                code = predict.main()
            except SystemExit as ended:
                code = ended.code
            except BaseException:  # this is what is looked for
                fault = f"traceback: {traceback.format_exc()}"
        answers.write(json.dumps({"code": code, "stderr": stderr.getvalue(), "fault": fault}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
