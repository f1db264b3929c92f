"""The device that Paddle computes on; a process has one current device."""

import functools
import math
import re
import sys
from typing import Dict, Optional

from ppadaattn import runtime
from ppadaattn.errors import InputError

import numpy as np

paddle = runtime.import_paddle()


def select_device(device: Optional[str] = None) -> str:
    """Make a device Paddle's current one.

    Args:
        device: 'cpu', 'gpu', 'gpu:N', or None for a GPU that works, else the CPU.

    Returns:
        name of the device, 'cpu' or 'gpu:N'.

    Raises:
        InputError: an unknown name, or a GPU that is missing or computes wrongly.
    """
    if device is None:
        return _use("gpu:0") if _gpu_problem(0) is None else _use("cpu")
    if device == "cpu":
        return _use("cpu")
    match = re.fullmatch(r"gpu(?::(\d+))?", str(device))
    if match is None:
        raise InputError(f"device {str(device)!r} is not known; expected cpu, gpu or gpu:N")
    index = int(match.group(1) or 0)
    problem = _gpu_problem(index)
    if problem is not None:
        raise InputError(f"{device} cannot be used: {problem}; use cpu")
    return _use(f"gpu:{index}")


def peak_memory() -> float:
    """Peak memory in bytes: of Paddle on the current GPU, or of the process on the CPU (nan on Windows)."""
    if paddle.get_device().startswith("gpu"):
        return paddle.device.cuda.max_memory_allocated()
    if sys.platform == "win32":
        return math.nan
    import resource  # not on Windows

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024


def _use(device):
    paddle.set_device(device)
    return device


def _gpu_problem(index):
    """The reason why a GPU cannot be used, or None."""
    if not paddle.is_compiled_with_cuda():
        return "this PaddlePaddle is built for CPU only (the extra 'gpu' installs the other)"
    count = paddle.device.cuda.device_count()
    if index >= count:
        return f"this machine has {count} NVIDIA GPU(s), counted from 0"
    previous = paddle.get_device()
    try:
        # A PaddlePaddle that was not built for this chip imports, and then fails at the first kernel or computes
        # wrongly.
        expected, found = self_test("cpu"), self_test(f"gpu:{index}")
    except Exception as error:
        return f"a first operation failed: {str(error).strip().splitlines()[-1]}"
    finally:
        paddle.set_device(previous)
    wrong = [name for name, array in expected.items() if not np.allclose(found[name], array, rtol=1e-2, atol=1e-2)]
    if wrong:
        return (
            f"it computes another {' and '.join(wrong)} than the CPU, as a PaddlePaddle that was not built for this "
            "card does; for Pascal cards (sm_61) that is paddlepaddle-gpu 2.6.2"
        )
    return None


def self_test(device: str) -> Dict[str, np.ndarray]:
    """Compute a small convolution and a matrix product on a device, which becomes the current one.

    Returns:
        {name of the operation: float32 array}.
    """
    paddle.set_device(device)
    rng = np.random.RandomState(0)
    image, kernel, left, right = (
        paddle.to_tensor(rng.uniform(-1, 1, shape).astype("float32"))
        for shape in ((1, 8, 16, 16), (8, 8, 3, 3), (32, 64), (64, 32))
    )
    convolution = paddle.nn.functional.conv2d(image, kernel)
    return {"convolution": convolution.numpy(), "matrix product": paddle.matmul(left, right).numpy()}


def without_gradients(function):
    """Decorator: run a function without gradients, also where calls are nested or come from several threads.

    Paddle's own decorator keeps the state to restore in one object a function: after nested calls gradients stay off.
    """

    @functools.wraps(function)
    def run(*arguments, **options):
        with paddle.no_grad():
            return function(*arguments, **options)

    return run
