"""Threads that share a memory limit: who runs what, when, and what happens when one fails.

Jobs are taken in order. A job waits until the memory it needs is free; one that needs more than
the limit runs alone. What jobs report is handed on in the calling thread, and the first failure,
also Ctrl-C in the calling thread, stops all workers before it is raised.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Report = TypeVar("Report")

# Windows does not interrupt a wait without end; half a second is soon enough for Ctrl-C.
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Job(Generic[Report]):
    """A piece of work.

    Attributes:
        nbytes: Memory it needs, in bytes.
        run: Does it; takes a function for reports, and :class:`Stop` to look at.
    """

    nbytes: int
    run: Callable[[Callable[[Report], None], threading.Event], None]


class ByteBudget:
    """A limit in bytes, shared by threads.

    Attributes:
        limit: What may be taken at once, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self._changed = threading.Condition()

    def take(self, nbytes: int) -> int:
        """Wait until ``nbytes`` are free, take them, and return what :meth:`give` gives back.

        Examples:
            >>> budget = ByteBudget(100)
            >>> budget.take(1000)
            100
        """
        wanted = min(nbytes, self.limit)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        return wanted

    def give(self, nbytes: int) -> None:
        """Give back what :meth:`take` returned."""
        with self._changed:
            self._free += nbytes
            self._changed.notify_all()


def run_jobs(
    jobs: Sequence[Job[Report]],
    report: Callable[[Report], None],
    *,
    workers: int,
    limit: int,
) -> None:
    """Run all jobs; return when all are done.

    Args:
        jobs: In the order in which they are begun.
        report: Called in this thread with what jobs report.
        workers: Number of threads; with 1 everything runs in this thread.
        limit: Memory that all running jobs may need together, in bytes.

    Raises:
        BaseException: The first that a job or ``report`` raised; no job is running any more.
    """
    stop = threading.Event()
    if workers <= 1:
        for job in jobs:
            job.run(report, stop)
        return
    _Crew(jobs, limit, stop).work(report, workers)


class _Crew(Generic[Report]):
    """The threads of one :func:`run_jobs`."""

    def __init__(self, jobs: Sequence[Job[Report]], limit: int, stop: threading.Event) -> None:
        self._jobs = iter(jobs)
        self._budget = ByteBudget(limit)
        self._stop = stop
        self._next = threading.Lock()
        # Reports; a failure; and None from each thread that ends.
        self._news: queue.SimpleQueue[tuple[Report] | BaseException | None] = queue.SimpleQueue()

    def work(self, report: Callable[[Report], None], workers: int) -> None:
        threads = [
            threading.Thread(target=self._run, name=f"converter-{index}")
            for index in range(workers)
        ]
        try:
            for thread in threads:
                thread.start()
            self._listen(report, workers)
        finally:
            self._stop.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _listen(self, report: Callable[[Report], None], running: int) -> None:
        while running:
            try:
                news = self._news.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if news is None:
                running -= 1
            elif isinstance(news, BaseException):
                raise news
            else:
                report(news[0])

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                # Waiting for memory while holding the lock keeps the order: small jobs must not
                # overtake, again and again, a large one that waits for all of it.
                with self._next:
                    job = next(self._jobs, None)
                    taken = 0 if job is None else self._budget.take(job.nbytes)
                if job is None:
                    break
                try:
                    job.run(self._post, self._stop)
                finally:
                    self._budget.give(taken)
        except BaseException as error:
            self._stop.set()
            self._news.put(error)
        finally:
            self._news.put(None)

    def _post(self, report: Report) -> None:
        self._news.put((report,))
