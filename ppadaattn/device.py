"""Where the network runs. Paddle has one current device a process."""

import math
import re
import sys

from ppadaattn import runtime
from ppadaattn.errors import InputError

import numpy as np

paddle = runtime.import_paddle()


def select_device(device=None):
    """Make a device Paddle's current one.

    Args:
        device: 'cpu', 'gpu', 'gpu:N', or None for a GPU where one works and the CPU elsewhere.

    Returns:
        its name.

    Raises:
        InputError: an unknown name, or a GPU where there is none that works.
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


def peak_memory():
    """Bytes: the most that Paddle held on the GPU in use, or else that the process held (nan on Windows)."""
    if paddle.get_device().startswith("gpu"):
        return paddle.device.cuda.max_memory_allocated()
    if sys.platform == "win32":
        return math.nan
    import resource  # which Windows has not

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024


def _use(device):
    paddle.set_device(device)
    return device


def _gpu_problem(index):
    """Why the GPU cannot be used, or None."""
    if not paddle.is_compiled_with_cuda():
        return "this PaddlePaddle is built for CPU only (the extra 'gpu' installs the other)"
    count = paddle.device.cuda.device_count()
    if index >= count:
        return f"this machine has {count} NVIDIA GPU(s), counted from 0"
    previous = paddle.get_device()
    try:
        # A wheel without code for this chip imports well, and then fails at the first kernel or computes nonsense.
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


def self_test(device):
    """{name: float32 array} of a small convolution and matrix product on a device, which becomes the current one."""
    paddle.set_device(device)
    rng = np.random.RandomState(0)
    image, kernel, left, right = (
        paddle.to_tensor(rng.uniform(-1, 1, shape).astype("float32"))
        for shape in ((1, 8, 16, 16), (8, 8, 3, 3), (32, 64), (64, 32))
    )
    convolution = paddle.nn.functional.conv2d(image, kernel)
    return {"convolution": convolution.numpy(), "matrix product": paddle.matmul(left, right).numpy()}
