"""The process's environment for Paddle and ONNX Runtime: set up before they load, in this one place.

Nothing that the user has set is overridden.

===================== ============================ ======================================================
variable              set to                       why
===================== ============================ ======================================================
MKL_DEBUG_CPU_TYPE    5, on AMD processors only    Paddle's bundled MKL takes a slow path on AMD otherwise
                                                   (matrix products 4 to 5 times slower)
MKL_NUM_THREADS       the cores this process has   Paddle sets OMP_NUM_THREADS to 1 when nobody has set it,
                                                   and MKL would follow it
ORT_DISABLE_TELEMETRY 1                            ONNX Runtime would keep a device id and a queue of events in
                                                   the home folder, and send them
GLOG_minloglevel      2                            Paddle's remarks to its developers would stand among the
                                                   messages of the tools
===================== ============================ ======================================================
"""

import contextlib
import importlib.util
import math
import os
import platform
import sys
import tempfile
import warnings
import zlib  # noqa: F401 - before Paddle, see _check_zlib
from pathlib import Path

MISSING_PADDLE = (
    "ppadaattn needs PaddlePaddle, which is not installed: "
    "pip install 'ppadaattn[cpu]' for any machine, or 'ppadaattn[gpu]' for one with an NVIDIA card "
    "(from a clone: pip install -e '.[cpu]' or '.[gpu]')"
)

# {folder of a container's memory, versions 2 and 1 of cgroups: (limit, use, what of the use can be dropped)}
CGROUPS = {
    "/sys/fs/cgroup": ("memory.max", "memory.current", "inactive_file"),
    "/sys/fs/cgroup/memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def prepare_environment():
    """Set the variables of the table above. Has an effect only before Paddle's import and first matrix product.

    Raises ImportError where Paddle was imported in an order that breaks the reading of PNG.
    """
    if "AuthenticAMD" in _processor():
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # Paddle itself sets OMP_NUM_THREADS to 1, so where it is loaded already a 1 is not the user's word.
    unset = "1" if "paddle" in sys.modules else None
    if os.environ.get("OMP_NUM_THREADS", unset) == unset:
        os.environ.setdefault("MKL_NUM_THREADS", str(_available_cores()))
    _check_zlib()


def import_paddle():
    """Import Paddle without the warnings of its own import, which do not help a user.

    Whatever is the first to import Paddle comes through here, so that no other `import paddle` needs care: rooms that
    need it everywhere call this in their `__init__`, the networks through `device`, others where they need it.

    Raises ImportError, with one sentence that names the two extras, where Paddle is not installed.
    """
    loaded = sys.modules.get("paddle")
    if loaded is not None and not getattr(loaded.__spec__, "_initializing", False):
        return loaded
    with warnings.catch_warnings(), _some_current_folder():
        warnings.simplefilter("ignore")
        try:
            import paddle
        except ModuleNotFoundError as error:
            if error.name != "paddle":
                raise
            raise ImportError(MISSING_PADDLE) from None
    if _signals_are_ours:
        paddle.disable_signal_handler()
    return paddle


_signals_are_ours = False


def keep_signals():
    """Leave signals to this process: without Paddle's own handlers, which print a traceback, now or once it loads."""
    global _signals_are_ours
    _signals_are_ours = True
    if sys.modules.get("paddle") is not None:
        import_paddle().disable_signal_handler()


def return_large_blocks():
    """Let the C library return blocks of memory from 1 MiB on to the system when they are freed.

    By itself it keeps freed blocks of up to 32 MiB for later, in pieces that the next ones do not fit.
    """
    _tell_malloc(mmap_threshold=2**20)


def keep_freed_memory():
    """Let the C library keep memory that is freed, for work that asks for the same buffers again and again.

    It takes a tenth off a training step of the small networks: otherwise the system clears new pages in each step.
    """
    # Bytes. The first is the largest that it takes; larger buffers than those of training still go back at once.
    _tell_malloc(trim_threshold=2**31 - 1, mmap_threshold=2**30)


def _tell_malloc(**thresholds):
    """Set thresholds of the C library's malloc, in bytes. Only glibc takes them; those of the user's stay."""
    if sys.platform != "linux" or {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return
    import ctypes  # here, because commands that only answer would load it

    options = {"trim_threshold": -1, "mmap_threshold": -3}  # of malloc.h
    with contextlib.suppress(AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for name, value in thresholds.items():
            mallopt(options[name], value)


def has_only_cpu():
    """Whether Paddle is known to compute on the CPU alone, or is not installed. Does not load it."""
    if sys.modules.get("paddle") is not None:
        return not import_paddle().is_compiled_with_cuda()
    if importlib.util.find_spec("paddle") is None:
        return True

    from importlib import metadata  # here, because it takes 30 ms

    def installed(package):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.distribution(package) is not None
        return False

    return installed("paddlepaddle") and not installed("paddlepaddle-gpu")


def current_device():
    """Paddle's current device, 'cpu' while it is not loaded."""
    return import_paddle().device.get_device() if sys.modules.get("paddle") else "cpu"


@contextlib.contextmanager
def _some_current_folder():
    """Paddle's import needs a current folder; where it is gone, the block runs in the folder of temporary files."""
    try:
        os.getcwd()
    except FileNotFoundError:
        gone = os.open(".", os.O_RDONLY)
        os.chdir(tempfile.gettempdir())
        try:
            yield
        finally:
            os.fchdir(gone)
            os.close(gone)
    else:
        yield


def _check_zlib():
    """Raise ImportError where Paddle 2 was loaded before zlib.

    Paddle 2.6 carries a zlib of its own and binds the system's to it, half and half, if it is what loads that. Then
    Python's zlib and Pillow read PNG wrongly or crash.
    """
    order = list(sys.modules)
    core = next((name for name in order if name.endswith(".libpaddle")), None)
    if core is None or "zlib" in sys.builtin_module_names or order.index("zlib") < order.index(core):
        return
    version = sys.modules["paddle"].__version__
    if version.startswith("2."):
        raise ImportError(
            f"Paddle {version} breaks the reading of PNG where it is imported first: "
            "put `import ppadaattn` (or `import zlib`) before `import paddle`"
        )


def _processor():
    cpuinfo = Path("/proc/cpuinfo")
    # Windows has no /proc, but there platform.processor() holds the vendor.
    return cpuinfo.read_text(errors="ignore") if cpuinfo.exists() else platform.processor()


def threads():
    """How many threads may compute at once: as MKL_NUM_THREADS or OMP_NUM_THREADS say, else one for each core."""
    for name in ("MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        first = os.environ.get(name, "").partition(",")[0].strip()  # OpenMP takes a list, one number for each level
        if first.isdecimal() and int(first):
            return int(first)
    return _available_cores()


def _available_cores():
    """The cores that this process may use: not more than its affinity and its control group allow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _group_limit())))


def _group_limit(root="/sys/fs/cgroup", own="/proc/self/cgroup"):
    """The cores' worth of time that Linux gives to the control group of this process, as containers have; else inf."""
    limit = math.inf
    with contextlib.suppress(OSError, ValueError):
        for line in Path(own).read_text(encoding="ascii").splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            folder = Path(root, "cpu") if controllers else Path(root)
            # A container may see its own group as the root.
            for place in {folder / group.lstrip("/"), *(folder / group.lstrip("/")).parents, folder}:
                if folder in (place, *place.parents):
                    limit = min(limit, _quota(place))
    return limit


def _quota(group):
    """The limit of one control group, of version 2 or 1, in cores."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        return math.inf if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 else math.inf
    return math.inf


def free_memory() -> float:
    """Bytes of memory that this process can still take: of the machine, its cgroup and its limit; inf where unknown."""
    found = [math.inf]
    with contextlib.suppress(OSError, StopIteration), open("/proc/meminfo") as file:
        found.append(next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable")))
    for folder, (limit, use, cached) in CGROUPS.items():
        with contextlib.suppress(OSError, ValueError):  # "max": no limit
            statistics = dict(line.split() for line in Path(folder, "memory.stat").read_text().splitlines())
            most, now = (int(Path(folder, name).read_text()) for name in (limit, use))
            found.append(most - now + int(statistics.get(cached, 0)))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            found.append(most - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize())
    return max(0, min(found))
