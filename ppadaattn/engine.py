"""What runs a network on the CPU: Paddle itself ("eager"), or ONNX Runtime with the programs of `onnx_graph`.

Both give the same picture (to about 1e-4 of the range). ONNX Runtime is the faster one (BENCHMARKS.md); it paints with
single prepared styles at full strength, and everything else is left to Paddle.
"""

import importlib.util
import os

from ppadaattn import onnx_graph
from ppadaattn.checkpoint import fingerprint
from ppadaattn.errors import InputError, import_optional, nearest
from ppadaattn.files import atomic_write
from ppadaattn.images import MIN_SIDE
from ppadaattn.version import __version__
from ppadaattn.zoo import cache_folder

import numpy as np
import paddle

ENGINES = ("auto", "eager", "onnxruntime")


def make_engine(name, network):
    """An OnnxEngine for a network, or None where Paddle is to run it.

    Args:
        name: 'eager', 'onnxruntime', or 'auto': ONNX Runtime on a CPU where it and `onnx` are installed.

    Raises:
        InputError: an unknown name, ONNX Runtime on a GPU or where it is not installed, a network it cannot run.
    """
    if name not in ENGINES:
        raise InputError(f"there is no engine {name!r}{nearest(name, ENGINES)}; engines: {', '.join(ENGINES)}")
    on_cpu = paddle.device.get_device() == "cpu"
    if name == "auto":
        installed = all(importlib.util.find_spec(module) for module in ("onnx", "onnxruntime"))
        works = on_cpu and installed and network.architecture["transform"] == "adaattn"
        name = "onnxruntime" if works else "eager"
    if name == "eager":
        return None
    if not on_cpu:
        raise InputError(f"the engine onnxruntime runs on the CPU; the device is {paddle.device.get_device()}")
    if network.architecture["transform"] != "adaattn":
        raise InputError(f"the engine onnxruntime runs AdaAttN; this model is {network.architecture['transform']}")
    return OnnxEngine(network)


class OnnxEngine:
    """Paints with ONNX Runtime.

    The program is made once for given weights and kept in the cache folder.

    Args:
        network: an AdaAttNNetwork, as it is now; after training on, make a new engine.
    """

    def __init__(self, network):
        self.network = network
        self.runtime = import_optional("onnxruntime", "'ppadaattn[onnx]'", "the engine onnxruntime")
        self._session = None

    def takes(self, contents, style, strength=1.0, content_statistics=None, features=None):
        """Whether it paints contents B x H x W x 3 in a Style with the options of `Stylizer.stylize_tensor`."""
        if strength != 1 or content_statistics is not None or features is not None:
            return False
        kind = self.network.architecture["attention"]
        plain = all(state.kind == kind and state.batch == 1 for state in style.states.values())
        return plain and min(contents.shape[1:3]) > MIN_SIDE  # reflection needs two pixels, in relu5_1 too

    def stylize(self, contents, style):
        """As `AdaAttNNetwork.stylize`, with float32 numpy arrays [B, 3, H, W], clipped to [0, 1]."""
        if self._session is None:
            self._session = self._open(self._program())
        state = onnx_graph.state_arrays(self.network, style)
        pictures = [self._session.run(None, {"content": content[None], **state})[0] for content in contents]
        return np.concatenate(pictures)

    def _program(self):
        """The bytes of the content program, from the cache folder or made and put there."""
        name = f"content-{__version__}-{fingerprint(self.network)[:32]}.onnx"
        cached = cache_folder() / "programs" / name
        try:
            return cached.read_bytes()
        except OSError:
            program = onnx_graph.content_program(self.network).SerializeToString()
        try:
            with atomic_write(cached) as temporary:
                temporary.write_bytes(program)
        except InputError:
            pass  # a cache that cannot be written costs a second the next time
        return program

    def _open(self, program):
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("MKL_NUM_THREADS", 0))  # as many as Paddle; 0: all cores
        options.log_severity_level = 3
        try:
            return self.runtime.InferenceSession(program, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors are of no public kind; a damaged cache is one cause
            raise InputError(
                f"ONNX Runtime cannot run the program ({error}); remove {cache_folder() / 'programs'}, "
                "or choose the engine eager"
            ) from None
