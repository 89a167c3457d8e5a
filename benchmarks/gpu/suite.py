"""Part 1: the GPU tests of the test suite, tests/test_gpu.py."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from benchmarks.gpu.notes import Notes, Setup

ROOT = Path(__file__).parents[2]


def measure(setup: Setup, notes: Notes) -> None:
    """Run them; each test that fails is a failure of the part, and so is a GPU that is not found."""
    report = setup.out / "suite.xml"
    command = [sys.executable, "-m", "pytest", "tests/test_gpu.py", "-v", "--tb=short", "-p", "no:cacheprovider"]
    command += ["-o", "filterwarnings=default", f"--junitxml={report}", f"--basetemp={setup.work / 'tests'}"]
    command += ["-k", "not cpu"] if setup.device == "cuda" else []  # those run wherever the suite runs
    # Deterministic products of matrices need it, and it is read when CUDA starts.
    environment = os.environ | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    code = subprocess.run(command, cwd=ROOT, env=environment).returncode
    notes.add(exit_code=code)
    if not report.is_file():
        raise RuntimeError(f"pytest wrote no report; exit code {code}")
    counts = dict.fromkeys(("passed", "failed", "skipped"), 0)
    tests = []
    for case in ET.parse(report).iter("testcase"):
        problem = next((case.find(kind) for kind in ("failure", "error") if case.find(kind) is not None), None)
        skipped = case.find("skipped")
        state = "failed" if problem is not None else "skipped" if skipped is not None else "passed"
        counts[state] += 1
        reason = skipped.get("message", "") if skipped is not None else ""
        tests.append({"test": case.get("name"), "state": state, "seconds": case.get("time"), "reason": reason})
        if problem is not None:
            notes.fail(str(case.get("name")), problem.get("message", ""), problem.text or "")
    notes.add(**counts, tests=tests)
    if setup.device == "cuda" and counts["skipped"]:
        notes.fail("skipped tests", f"{counts['skipped']} tests were skipped on a machine that should run all")
