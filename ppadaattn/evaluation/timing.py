"""Time and peak memory of a piece of work."""

import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

from ppadaattn.device import peak_memory, without_gradients

import paddle


@without_gradients
def median_time(work, seconds=6.0, most=5, warmed=None, warm=False):
    """Median time in seconds of up to `most` runs within about `seconds`, after a warm-up.

    Args:
        work: a function without arguments, which returns when all is computed.
        warmed: function of the warm-up's time, called after it; None for none.
        warm: leave the warm-up out.
    """
    times = [0.0] if warm else []
    for run in range(len(times), 1 + most):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
        if run == 0 and warmed is not None:
            warmed(times[0])
        if sum(times) > seconds and (len(times) > 1 or times[0] > 5 * seconds):  # a very long run is its own warm-up
            break
    return statistics.median(times[1:] or times)


def reset_peak():
    """Reset the process's peak memory where the system can; returns the bytes in use now."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # memory that was freed before then counts too
    return peak()


def peak():
    """Peak memory in bytes: of this process, or of Paddle on the GPU in use."""
    if paddle.get_device().startswith("gpu"):
        return peak_memory()
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        return peak_memory()


def in_new_process(function, *arguments):
    """Call a function of a module in a new process; returns its result."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
