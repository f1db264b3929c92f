"""Independent pieces of work, done at once in threads, their results in order."""

import collections
import functools
from concurrent.futures import ThreadPoolExecutor


def in_order(work, items, workers):
    """Yield work(item) for each item, in the order of the items.

    Args:
        work: a function of one item; with several workers it is called from threads. What it raises is raised where
            its result is due.
        items: an iterable, taken from as the work goes on: at most `workers` + 1 items are under way, or finished and
            not yet yielded. What it raises is raised after the results of the items before.
        workers: how many items are worked on at once; with 1 there are no threads.

    Closing the generator waits for the items that are being worked on, and leaves out the others.
    """
    if workers == 1:
        yield from map(work, items)
        return
    waiting = collections.deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for call in _calls(work, items):
                waiting.append(pool.submit(call))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _calls(work, items):
    """A function without arguments for each item; the last one raises what the iterable raised, if it did."""
    try:
        for item in items:
            yield functools.partial(work, item)
    except Exception as error:
        failure = error  # `error` itself ends with this block
        yield lambda: _raise(failure)


def _raise(error):
    raise error
