"""The page without a service: static files, with programs that the visitor's browser runs by onnxruntime-web.

index.html, *.js, page.css     the page of `ppadaattn serve`, with static/server.js replaced by browser/
about.json                     what the page needs to know
pictures/                      bundled contents and styles
models/NAME/                   programs of `web_programs`; for cosine attention also the states of the bundled styles
onnxruntime-web/               ONNX Runtime, where it was found
sw.js                          service worker: the page works offline, and on several threads
"""

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

from ppadaattn.errors import InputError
from ppadaattn.files import atomic_write, check_writable
from ppadaattn.infer.export_onnx import store_halves
from ppadaattn.infer.options import PaintOptions
from ppadaattn.infer.programs import signature
from ppadaattn.infer.stylizer import load
from ppadaattn.serve.about import content_policy, describe, examples
from ppadaattn.serve.limits import Limits
from ppadaattn.serve.web_programs import PROGRAMS, make_program
from ppadaattn.weights.zoo import DEFAULT_MODEL, DEFAULT_VIDEO_MODEL, MODELS

import numpy as np

HERE = Path(__file__).resolve().parent
PAGE, BROWSER = HERE / "static", HERE / "browser"
FOR_SERVICES = {"server.js", "api.html", "api.js", "backend.js"}
NPM_FOLDER = Path("node_modules", "onnxruntime-web", "dist")
RUNTIME = "onnxruntime-web/"
# What a browser takes of it: one module and its WebAssembly, without or with WebGPU.
RUNTIME_FILES = {
    "ort.wasm.bundle.min.mjs": "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.bundle.min.mjs": "ort-wasm-simd-threaded.asyncify.wasm",
}
PINNED_HOST = "https://cdn.jsdelivr.net"
PINNED = f"{PINNED_HOST}/npm/onnxruntime-web@1.30.0/dist/"
PAGE_LIMITS = ("size", "max_pixels", "max_frames", "style_files")  # those of the service that the page keeps to
LARGEST_PICTURE, LARGEST_CLIP = 64, 4096  # MiB; a clip is read piece by piece
LARGE = 10_000  # weights of a layer from which on they are stored as float16; docs/web.md has what that changes


def save_page(folder, model=None, runtime=None):
    """Write the page.

    Args:
        folder: for its files; new, empty, or that of an earlier page.
        model: a model as for `load`; None: both small ones.
        runtime: folder of onnxruntime-web's files (`dist` of the npm package); None: that below the current folder
            where it is there, else a pinned address.

    Returns:
        the address of ONNX Runtime that the page uses, RUNTIME or PINNED.

    Raises:
        InputError: a folder with other files, one without onnxruntime-web, a model that cannot be exported.
    """
    folder = Path(folder)
    check_writable(folder, folder=True)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "about.json").is_file():
        raise InputError(f"{folder} holds other files: give a new folder for the page")
    given = NPM_FOLDER if runtime is None else Path(runtime)
    own = all((given / name).is_file() for pair in RUNTIME_FILES.items() for name in pair)
    if runtime is not None and not own:
        raise InputError(f"{given} has no {next(iter(RUNTIME_FILES))}: give `dist` of the npm package onnxruntime-web")
    stylizers = {
        Path(name).stem: load(name, device="cpu", engine="eager")
        for name in ([model] if model else [DEFAULT_VIDEO_MODEL, DEFAULT_MODEL])
    }
    for stylizer in stylizers.values():
        signature(stylizer.network, "content")  # which refuses other transforms before anything is written
    writer = _Writer(folder)
    address = RUNTIME if own else PINNED
    _write_page(writer, address)
    pictures = {"styles": examples("style"), "contents": examples("content")}
    for kind, paths in pictures.items():
        for name, path in paths.items():
            writer.copy(path, f"pictures/{kind}/{name}.jpg")
    states = {}
    for name, stylizer in stylizers.items():
        found = _write_model(writer, name, stylizer, pictures["styles"])
        if found:
            states[name] = found
    for pair in RUNTIME_FILES.items() if own else ():
        for name in pair:
            writer.copy(given / name, RUNTIME + name)
    first = next(iter(stylizers))
    limits = {name: value for name, value in asdict(Limits()).items() if name in PAGE_LIMITS}
    limits.update(max_body=LARGEST_PICTURE, max_upload=LARGEST_CLIP)
    about = describe(list(stylizers), limits, **pictures)
    about["formats"]["clip"] = ["webm"]  # the one that the page writes by itself
    about.update(default_models={"picture": first, "clip": first}, states=states, runtime=address)
    writer.text("about.json", json.dumps(about))
    _write_service_worker(writer, address)  # the last: it names the others
    return address


class _Writer:
    """Writes files into a folder and remembers digests of them, {name: digest}."""

    def __init__(self, folder):
        self.folder, self.digests = folder, {}

    def copy(self, path, name):
        with atomic_write(self.folder / name) as temporary:
            shutil.copyfile(path, temporary)
        self._remember(name)

    def bytes(self, name, data):
        with atomic_write(self.folder / name) as temporary:
            temporary.write_bytes(data)
        self._remember(name)

    def text(self, name, text):
        self.bytes(name, text.encode())

    def _remember(self, name):
        self.digests[name] = hashlib.sha256((self.folder / name).read_bytes()).hexdigest()


def _write_page(writer, address):
    for path in [*PAGE.iterdir(), *BROWSER.iterdir()]:
        if path.name not in ("index.html", "sw.js") and (path.parent == BROWSER or path.name not in FOR_SERVICES):
            writer.copy(path, path.name)
    other = "" if address == RUNTIME else f" {PINNED_HOST}"
    policy = content_policy(
        {
            "script-src": f"'self' 'wasm-unsafe-eval'{other}",
            "connect-src": f"'self'{other}",
            "media-src": "'self' blob: mediastream:",
        }
    )
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<link rel="manifest" href="manifest.json">\n'
    )
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    writer.text("index.html", page.replace("<title>", f"{head}<title>", 1))


def _write_model(writer, name, stylizer, styles):
    """Write programs and states of a model.

    Returns {'tensors': [(name, shape)] of the states, 'counts': {style: {level: its points}}}; None without states.
    """
    about = {"model": name, **({"licence": MODELS[name].licence} if name in MODELS else {})}
    for program in PROGRAMS:
        model = make_program(stylizer.network, program, about)
        store_halves(model, LARGE)
        writer.bytes(f"models/{name}/{program}.onnx", model.SerializeToString())
    if stylizer.network.architecture["attention"] != "cosine":
        return None  # states of softmax attention are larger than the program that makes them
    counts = {}
    for style, path in styles.items():
        prepared = stylizer.prepare_style(str(path), style_size=PaintOptions.style_size)
        arrays = _small_states(prepared)
        writer.bytes(f"models/{name}/{style}.bin", b"".join(array.astype("<f2").tobytes() for array in arrays.values()))
        counts[style] = {level: state.count for level, state in prepared.states.items()}
    return {"tensors": [(key, array.shape) for key, array in arrays.items()], "counts": counts}


def _small_states(style):
    """{name: array} of a cosine state, its sums divided by the number of style points: so float16 holds them."""
    arrays = {}
    for level, state in style.states.items():
        for name in ("products", "sums"):
            arrays[f"{name}{level}"] = getattr(state, name).numpy() / np.float32(state.count)
        arrays[f"centre{level}"] = state.centre.numpy()
    return arrays


def _write_service_worker(writer, address):
    names = sorted(writer.digests)
    first = [name for name in names if "/" not in name or name.startswith("pictures/")]
    module, binary = next(iter(RUNTIME_FILES.items()))
    rest = [name for name in names if name.startswith("models/")] + [f"{address}{name}" for name in (module, binary)]
    version = hashlib.sha256(json.dumps(writer.digests).encode()).hexdigest()[:16]
    constants = {"VERSION": f"ppadaattn {version}", "FIRST": first, "REST": rest, "RUNTIME": address}
    lines = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in constants.items())
    writer.text("sw.js", lines + (BROWSER / "sw.js").read_text(encoding="utf-8"))
