"""Lets reading, inference and writing overlap: a thread that reads ahead, and ordered work on several threads."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_END = object()


def ahead(items: Iterable[Item], count: int) -> Iterator[Item]:
    """Yield the same items, made by another thread up to ``count`` of them before they are asked for.

    An error of that thread is raised here, in its turn. When this generator is closed the thread stops after
    the item that it is making, and has ended. With a count of 0 the caller's own thread makes them.
    """
    if not count:
        yield from items
        return
    ready: queue.Queue[Any] = queue.Queue(count)
    stopped = threading.Event()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((_END, None))
        except BaseException as error:  # handed over, not swallowed: the consumer raises it
            put((_END, error))

    thread = threading.Thread(target=make, name="read ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()


def mapped(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, spare: int = 1
) -> Generator[Result, None, None]:
    """Yield ``work(item)`` in the order of the items, done by so many threads.

    At most ``threads + spare`` items are in work or done and not yet taken, so memory stays bounded; the spare ones
    keep the threads at work while the caller is busy with a result.
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="inference")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= threads + spare:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
