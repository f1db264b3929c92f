"""Independent pieces of work, done at once in threads, their results in order."""

import collections
from concurrent.futures import ThreadPoolExecutor


def in_order(work, items, workers):
    """Yield work(item) for each item, in the order of the items.

    Args:
        work: a function of one item; with several workers it is called from threads. What it raises is raised where
            its result is due.
        items: an iterable, taken from as the work goes on: at most `workers` + 1 items are under way, or finished and
            not yet yielded.
        workers: how many items are worked on at once; with 1 there are no threads.

    Closing the generator waits for the items that are being worked on, and leaves out the others.
    """
    if workers == 1:
        yield from map(work, items)
        return
    waiting = collections.deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
