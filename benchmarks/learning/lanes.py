"""Runs jobs in parallel, one per core or GPU, and stores their results."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.learning.jobs import Bench, Job, Record


def read_results(path: Path) -> dict[str, Record]:
    """Records by key; a line cut off by a kill does not count."""
    records: dict[str, Record] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        records[record["key"]] = record
    return records


def keep(path: Path, record: Record) -> None:
    """Add one, on a line of its own, also after a line that a kill has cut off."""
    with path.open("a") as file:
        file.write("\n" + json.dumps(record))


def run_all(bench: Bench, jobs: list[Job], results: Path, lanes: int) -> None:
    """Run the jobs that are not done yet; jobs that fine-tune wait for those that pretrain.

    Two trainings that share cores wait for each other's threads and take several times as long, so each
    gets cores of its own.

    Args:
        bench: where they run.
        jobs: in order.
        results: the file of what is done.
        lanes: how many run at a time.
    """
    done = read_results(results)
    open_jobs = [job for job in jobs if job.key not in done]
    context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
    free = context.Queue()
    for lane in range(lanes):
        free.put(lane)
    with (
        tqdm(total=len(jobs), initial=len(jobs) - len(open_jobs), desc="jobs", unit="job") as bar,
        ProcessPoolExecutor(lanes, context, _enter, (free, lanes, bench.work)) as pool,
    ):
        for pretrains in (True, False):
            part = [job for job in open_jobs if (job.measure == "frozen") == pretrains]
            waiting = {pool.submit(bench.measure, job): job for job in part}
            try:
                for future in as_completed(waiting):
                    keep(results, future.result() | {"key": waiting[future].key})
                    bar.set_postfix_str(waiting[future].key)
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _enter(free: multiprocessing.Queue, lanes: int, work: Path) -> None:
    """A process of the pool takes its cores, and writes what it has to say to a file of its own."""
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    lane = free.get()
    if hasattr(os, "sched_setaffinity"):  # Linux
        cores = sorted(os.sched_getaffinity(0))
        own = cores[lane::lanes]
        os.sched_setaffinity(0, own)
        torch.set_num_threads(len(own))
        threadpool_limits(len(own))  # numpy's and scikit-learn's
    log = os.open(work / f"lane-{lane}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log, stream.fileno())


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """A benchmark that is killed leaves no training behind."""
    parent.join()
    os._exit(1)
