"""Engines that run a network on the CPU: Paddle layer by layer ("eager"), or exported programs (`programs`) in Paddle's
own inference runtime ("inference") or in ONNX Runtime ("onnxruntime").

All give the same picture (to about 1e-4 of the range); BENCHMARKS.md compares their speed. Programs prepare styles
without regions, and paint in a single style at full strength; eager does the rest. Any number of threads may share an
engine; make it before they start.
"""

import copy
import functools
import hashlib
import importlib.util
import os
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Optional

from ppadaattn.errors import InputError, import_optional, nearest
from ppadaattn.files import atomic_folder, cache_folder, lock
from ppadaattn.infer import export_onnx, export_tiles
from ppadaattn.infer.programs import ProgramStyle, signature, state_arrays, style_of_arrays
from ppadaattn.media.images import MIN_SIDE, to_bytes, to_floats
from ppadaattn.runtime import current_device, import_paddle, return_large_blocks, threads
from ppadaattn.version import __version__
from ppadaattn.weights.checkpoint import built, fingerprint

import numpy as np

# Name of the file with the digest of a program's files, beside them in the cache.
DIGEST = "sha256"


def make_engine(name: str, network) -> "Optional[ProgramEngine]":
    """Make the ProgramEngine for a network; None for eager, where Paddle runs it layer by layer.

    Args:
        name: 'eager', 'inference', 'onnxruntime', or 'auto': ONNX Runtime on a CPU where it and `onnx` are installed,
            eager elsewhere.
        network: an AdaAttNNetwork, or a StoredNetwork.

    Raises:
        InputError: an unknown name, an engine on a GPU or where it is not installed, a network it cannot run.
    """
    if name not in ENGINES:
        raise InputError(f"there is no engine {name!r}{nearest(name, ENGINES)}; engines: {', '.join(ENGINES)}")
    device = current_device()
    on_cpu = device == "cpu"
    exported = network.architecture["transform"] == "adaattn"
    if name == "auto":
        name = "onnxruntime" if on_cpu and onnx_is_installed() and exported else "eager"
    if name == "eager":
        return None
    if not on_cpu:
        raise InputError(f"the engine {name} runs on the CPU; the device is {device}")
    if not exported:
        raise InputError(f"the engine {name} runs AdaAttN; this model is {network.architecture['transform']}")
    return PROGRAM_ENGINES[name](network)


def onnx_is_installed():
    """Whether programs can be made for ONNX Runtime, and run."""
    return all(importlib.util.find_spec(module) for module in ("onnx", "onnxruntime"))


class ProgramEngine:
    """Paints with a network's style and content programs, from any number of threads.

    A program is made once for given weights and kept in the cache folder.

    Args:
        network: an AdaAttNNetwork or a StoredNetwork, as it is now; after training on, make a new engine.
    """

    runtime: str  # its name and version: a part of the program's name in the cache
    paints_tiles = False  # whether it has the programs of `export_tiles`
    workers = 1  # how many pictures to paint at once with `narrow`

    def __init__(self, network):
        self.network, self.threads = network, threads()  # the threads of one picture
        self._opened, self._opening, self._narrow = {}, threading.Lock(), None
        self._weights = fingerprint(network)[:32]

    def narrow(self):
        """An engine of the same network that paints each picture on the thread that asks for it, so that `workers`
        threads paint as many pictures at once, with one copy of the weights.
        """
        if self._narrow is None:
            narrow = copy.copy(self)
            narrow.threads, narrow._opened, narrow._opening = 1, {}, threading.Lock()
            self._narrow = narrow
        return self._narrow

    def takes_style(self, height, width, mask=None):
        """Whether the engine prepares a style of that size, in pixels."""
        return mask is None and min(height, width) > MIN_SIDE

    def prepare_style(self, picture):
        """The Style of a picture, uint8 H x W x 3, as `AdaAttNNetwork.prepare_style`."""
        arrays = self._run("style", {"style": to_floats(picture[None])})
        return style_of_arrays(self.network, arrays, picture.shape[:2])

    def takes(self, contents, style, strength=1.0, content_statistics=None, features=None):
        """Whether the engine paints contents B x H x W x 3 in a Style; the options are those of `paint_array`."""
        if strength != 1 or content_statistics is not None or features is not None:
            return False
        # Reflection needs two pixels, in relu5_1 too.
        return self.takes_state(style) and min(contents.shape[1:3]) > MIN_SIDE

    def paint(self, contents, style):
        """Contents, uint8 B x H x W x 3, in a Style: list of B uint8 arrays H x W x 3."""
        return list(to_bytes(self.paint_array(contents, style)))

    def paint_array(self, contents, style):
        """As `paint`, before values are rounded to bytes: float32 [B, 3, H, W], clipped to [0, 1]."""
        state = state_arrays(self.network, style)
        painted = [self._run("content", {"content": content[None], **state}) for content in to_floats(contents)]
        return np.concatenate([outputs["stylized"] for outputs in painted])

    def takes_state(self, style):
        """Whether programs take a Style: one of the network's own attention, not a mixture or regions."""
        kind = self.network.architecture["attention"]
        own = isinstance(style, ProgramStyle) or all(state.kind == kind for state in style.states.values())
        return own and style.is_single

    def open_tiles(self, program, workers=1):
        """Open one of `export_tiles.PROGRAMS`: a function {name of an input: array} -> {name of an output: array}.

        So many threads (`workers`) may call it at once, each with a share of all cores. It keeps the memory that it
        has worked with, up to gigabytes, until it is let go.
        """
        shared = copy.copy(self)
        shared.threads = max(1, self.workers // workers)
        run = shared._open_cached(program, "floats")
        names = export_tiles.outputs_of(self.network.architecture, program)
        return lambda inputs: dict(zip(names, run(inputs)))

    def _run(self, program, inputs, form="floats"):
        return dict(zip(signature(self.network, program, form)[1], self._program(program, form)(inputs)))

    def _program(self, program, form="floats"):
        with self._opening:
            if (program, form) not in self._opened:
                self._opened[program, form] = self._open_cached(program, form)
            return self._opened[program, form]

    def _open_cached(self, program, form):
        name = f"{program}-{form}-{self.runtime}-{__version__}-{self._weights}"
        cached = cache_folder() / "programs" / name
        try:
            if not _is_whole(cached):
                with lock(cache_folder() / "locks" / name):
                    self._save_whole(program, form, cached)
        except InputError:  # the cache cannot be written: making the program again costs a second or two
            with tempfile.TemporaryDirectory() as temporary:
                self.save(program, form, temporary)
                return self.open(program, temporary)
        return self.open(program, cached)

    def _save_whole(self, program, form, cached):
        """Write a program into the cache, unless another process did so meanwhile."""
        if _is_whole(cached):
            return
        shutil.rmtree(cached, ignore_errors=True)
        with atomic_folder(cached) as temporary:
            self.save(program, form, temporary)
            (temporary / DIGEST).write_text(_digest(temporary))

    def save(self, program, form, folder):
        """Write a program, one of `programs.PROGRAMS`, with pictures in a form of `programs.FORMS`, into a folder."""
        raise NotImplementedError

    def open(self, program, folder):
        """Open a program in a folder: a function {name of an input: array} -> [array of each output in turn].

        Any number of threads may call it.
        """
        raise NotImplementedError


class InferenceEngine(ProgramEngine):
    """Paints with Paddle's inference runtime and oneDNN."""

    def __init__(self, network):
        self.runtime = f"paddle-{import_paddle().__version__}"
        super().__init__(built(network))
        # Made now rather than when needed: tracing changes the mode of the whole process, and Paddle 3 aborts where
        # another thread runs a network meanwhile.
        for program in ("style", "content"):
            self._program(program)

    def save(self, program, form, folder):
        from ppadaattn.infer import export_paddle  # here, because it loads Paddle

        export_paddle.save_program(self.network, program, folder)

    def open(self, program, folder):
        from ppadaattn.infer import export_paddle

        from paddle import inference

        parameters, operators = (os.path.join(folder, program + suffix) for suffix in export_paddle.SUFFIXES)
        config = inference.Config(operators, parameters)
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(self.threads)
        config.enable_mkldnn()
        # Convolutions alone: Paddle 3.3 fails at resizing with oneDNN, and is not faster with the rest.
        config.delete_pass("onednn_placement_pass")
        predictor, running = inference.create_predictor(config), threading.Lock()

        def run(inputs):
            with running:  # a predictor has one set of inputs and outputs
                for name, array in inputs.items():
                    predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(array))
                predictor.run()
                return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]

        return run


class _FlushingThreads:
    """Threads in which the processor takes denormal numbers as zero; those of the caller keep theirs.

    Softmax gives many weights below the smallest normal float32, with which processors multiply slowly: the small image
    model takes 1.7 times as long with them at 512 x 512. ONNX Runtime sets the processor's mode in the thread that
    makes a process's first session, for good, and threads inherit it. In the main thread it would change what other
    libraries compute, and NumPy warns of it.
    """

    def __init__(self):
        self._first, self._others = ThreadPoolExecutor(1), ThreadPoolExecutor(threads())

    def open(self, make, *arguments, **options):
        """A session, made in the thread from which the others come."""
        return self._first.submit(make, *arguments, **options).result()

    def run(self, work, *arguments):
        """work(*arguments), in one of the threads; each is begun by the first one, and inherits its mode."""
        return self._first.submit(self._others.submit, work, *arguments).result().result()


@functools.lru_cache(None)
def _flushing_threads():
    return _FlushingThreads()


class OnnxEngine(ProgramEngine):
    """Paints with ONNX Runtime, whose sessions are safe from any thread."""

    runtime = "onnxruntime"
    paints_tiles = True

    def __init__(self, network):
        super().__init__(network)
        self._onnxruntime = import_optional("onnxruntime", "'ppadaattn[onnx]'", "the engine onnxruntime")
        self.workers = self.threads
        # Memory that is kept from run to run makes small networks a quarter faster, because new pages need clearing. At
        # full width, where computing takes longest, ONNX Runtime's arena took half a gigabyte more, and what the C
        # library kept 400 MB: for no time.
        self._keeps_memory = network.architecture["width"] < 1
        if not self._keeps_memory:
            return_large_blocks()

    def prepare_style(self, picture):
        return style_of_arrays(self.network, self._run("style", {"style": picture}, "bytes"), picture.shape[:2])

    def paint(self, contents, style):
        state = state_arrays(self.network, style)
        return [self._run("content", {"content": content, **state}, "bytes")["stylized"] for content in contents]

    def save(self, program, form, folder):
        if program in export_tiles.PROGRAMS:
            export_tiles.save_program(self.network, program, folder)
        else:
            export_onnx.save_program(self.network, program, folder, form)

    def open(self, program, folder):
        options = self._onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = self._keeps_memory
        # A block of memory planned for each size of the inputs: tiles have several sizes, and took 100 MB more with it.
        options.enable_mem_pattern = program not in export_tiles.PROGRAMS
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        path, flushing = os.path.join(folder, f"{program}.onnx"), _flushing_threads()
        make, providers = self._onnxruntime.InferenceSession, ["CPUExecutionProvider"]
        session = flushing.open(make, path, options, providers=providers)

        def run(inputs):
            try:
                return flushing.run(session.run, None, inputs)
            except Exception as error:
                if "alloc" in str(error):  # its own exceptions, 'Failed to allocate' and 'bad_alloc'
                    raise MemoryError(str(error)) from None
                raise

        return run


def _is_whole(folder):
    """Whether a program's files are as they were written. Checked because Paddle 2.6 crashes at damaged ones."""
    try:
        return (folder / DIGEST).read_text() == _digest(folder)
    except (OSError, UnicodeDecodeError):
        return False


def _digest(folder):
    """SHA-256 (hex) of the program's files in a folder."""
    sha = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name != DIGEST:
            sha.update(path.name.encode() + path.read_bytes())
    return sha.hexdigest()


PROGRAM_ENGINES = {"inference": InferenceEngine, "onnxruntime": OnnxEngine}
ENGINES = ("auto", "eager", *PROGRAM_ENGINES)
