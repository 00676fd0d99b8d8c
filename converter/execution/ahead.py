"""The next item is made while the one before is used: two threads for one large tensor."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

Item = TypeVar("Item")

_IN_FLIGHT = 2  # one being made and one being used; more would only be more memory


def make_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield what ``items`` yields, while a thread of its own makes the next item.

    At most two items exist at a time: an item counts as used when the next one is asked for, so
    the caller must not keep it. What ``items`` raises is raised here; when the caller stops early,
    the thread ends with the item it is making.

    Examples:
        >>> list(make_ahead(iter([1, 2, 3])))
        [1, 2, 3]
    """
    permits = threading.Semaphore(_IN_FLIGHT)
    stop = threading.Event()
    made: queue.SimpleQueue[tuple[Item] | BaseException | None] = queue.SimpleQueue()

    def make() -> None:
        try:
            permits.acquire()
            while not stop.is_set():
                # No variable holds the item here: it must be freed when the caller drops it.
                made.put((next(items),))
                permits.acquire()
        except StopIteration:
            made.put(None)
        except BaseException as error:
            made.put(error)

    thread = threading.Thread(target=make, name="converter-ahead")
    thread.start()
    try:
        while (got := made.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            yield got[0]
            del got
            permits.release()
    finally:
        stop.set()
        permits.release()
        thread.join()
