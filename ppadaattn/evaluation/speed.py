"""Speed and memory, as in table 1: each measurement in a process of its own."""

import multiprocessing
import re

from ppadaattn.errors import InputError
from ppadaattn.evaluation.methods import load_for_speed
from ppadaattn.evaluation.timing import median_time, peak
from ppadaattn.media.images import MIN_SIDE, to_floats

import numpy as np
import paddle

MODES = {
    "new": "content and style are new (tensors in, tensor out), which is probably what the paper counts",
    "kept": "the style is prepared before (tensors in, tensor out), as for the frames of a clip",
    "whole": "the whole call, content and style new (uint8 arrays in, uint8 array out)",
}
START = 120  # seconds that a process may take to load its network


def parse_size(text):
    """(width, height) of a text WIDTHxHEIGHT; InputError for any other text."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or min(map(int, match.groups())) < MIN_SIDE:
        raise InputError(f"a size is WIDTHxHEIGHT in pixels, each at least {MIN_SIDE}, such as 512x256; got {text!r}")
    return tuple(map(int, match.groups()))


def measure(method, mode, size, *, runs=5, limit=60.0, device=None):
    """Time one picture in a process of its own.

    Args:
        method: a Method.
        mode: of MODES.
        size: WIDTHxHEIGHT of content and style.
        runs: of which the median is taken, after a warm-up; fewer where they take long.
        limit: seconds after which a warm-up is given up.
        device: as in `ppadaattn.load`.

    Returns:
        {"seconds": median, "peak_bytes": of the process or the GPU}, or {"failed": reason, in a few words}.

    Raises:
        InputError: the method cannot be loaded.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, method, mode, parse_size(size), runs, device), daemon=True)
    process.start()
    sender.close()
    try:
        return _result(receiver, limit)
    finally:
        process.kill()  # SIGTERM would wait for the end of a long operation of Paddle
        process.join()
        receiver.close()


def _result(receiver, limit):
    for what, seconds in (("loaded", START), ("warm", limit), ("done", None)):
        try:
            if not receiver.poll(seconds):
                return {"failed": f"more than {seconds:g} s"}
            message, value = receiver.recv()
        except (EOFError, OSError):  # the process ended without a message: killed by the system, or by a library
            return {"failed": "not enough memory?"}
        if message == "error":
            raise InputError(value)
        if message != what:
            return {"failed": value}
        if message == "warm" and value > limit:  # the message arrived between the limit and `poll`
            return {"failed": f"more than {limit:g} s"}
    return value


def _measure(sender, method, mode, size, runs, device):
    paddle.disable_signal_handler()
    try:
        stylizer = load_for_speed(method, device)
        work = _work(stylizer, mode, *size)
        sender.send(("loaded", None))
        seconds = median_time(work, most=runs, warmed=lambda seconds: sender.send(("warm", seconds)))
        sender.send(("done", {"seconds": seconds, "peak_bytes": peak()}))
    except InputError as error:
        sender.send(("error", str(error)))
    except MemoryError:
        sender.send(("failed", "not enough memory"))
    except Exception as error:  # Paddle's errors, such as those of a GPU's memory, have no public class
        sender.send(("failed", (str(error).strip().splitlines() or [type(error).__name__])[-1]))


def _work(stylizer, mode, width, height):
    rng = np.random.RandomState(0)
    content, style = (rng.randint(0, 256, (height, width, 3)).astype("uint8") for _ in range(2))
    if mode == "whole":
        return lambda: stylizer(content, style)
    content, style = (paddle.to_tensor(to_floats(x[None])) for x in (content, style))
    network = stylizer.network
    if mode == "new":
        return lambda: _wait(network(content, style))
    with paddle.no_grad():
        prepared = network.prepare_style(style)
    return lambda: _wait(network.stylize(content, prepared))


def _wait(tensor):
    """Wait until the GPU has computed a tensor."""
    if tensor.place.is_gpu_place():
        paddle.device.synchronize()
