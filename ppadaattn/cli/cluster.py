"""Paint a data set on a Ray cluster: a picture a core, or a card, at a time; styles are prepared once and shared.

Tasks, not actors: Ray starts a lost task again on any machine that has a core to spare, where an actor would wait for
its own machine, and machines that join later take part. The processes stay from task to task, each with its network.
"""

import contextlib
import functools
import os
import re
import signal
import socket
from dataclasses import replace
from typing import NamedTuple

from ppadaattn import runtime
from ppadaattn.cli.pictures import Outcome, paint_file
from ppadaattn.errors import InputError, import_optional, one_line
from ppadaattn.infer.programs import ProgramStyle
from ppadaattn.infer.stylizer import load
from ppadaattn.model.style import Style

# The address that stands for a cluster of this machine alone, which is started and ended with the work.
LOCAL = "local"
# How often Ray starts a task again whose process or machine was lost. A picture for which there is too little memory
# ends its process each time.
RETRIES = 3
# Tasks under way for each core: one that is worked on and one that waits, so that no core waits for the driver.
AHEAD = 2
CONNECTING = 10  # seconds until a machine that does not answer is given up


class Model(NamedTuple):
    """What each process loads: arguments of `load`, and the fingerprint that the network must have.

    The device is 'cpu', or 'gpu': Ray shows each task one card.
    """

    model: str
    device: str
    engine: str
    fingerprint: str


@contextlib.contextmanager
def connected(address):
    """Connect this process with a Ray cluster for the block; a connection that is open is used as it is.

    Args:
        address: HOST:PORT, 'auto' for the one that Ray finds, or LOCAL, which is started and ended here.

    Raises:
        InputError: Ray is not installed, there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry, unless the user wants it
    ray = import_optional("ray", "'ppadaattn[ray]'", "clusters")
    if ray.is_initialized():
        yield
        return
    here = {"num_cpus": runtime.threads(), "include_dashboard": False} if address == LOCAL else {}
    try:
        place = re.fullmatch(r"([^/:]+):([0-9]{1,5})", address)
        if place:  # Ray itself waits for minutes
            socket.create_connection(place.groups(), CONNECTING).close()
        at_end = signal.getsignal(signal.SIGTERM)
        ray.init(address, log_to_driver=False, logging_level="error", **here)
        with contextlib.suppress(ValueError):  # outside the main thread, which is the one that gets signals
            signal.signal(signal.SIGTERM, at_end or signal.SIG_DFL)  # Ray's own ends with another exit status
    except (OSError, ValueError) as error:
        raise InputError(f"there is no Ray cluster at {address}: {one_line(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def outcomes(model, plan, options, names, record):
    """Yield the Outcome of each name as it comes; `record(name, outcome)` is called first, in this process alone.

    Args:
        model: a Model. Its files, contents, styles and outputs must be under the same paths on all machines.
        plan, options: as in `data_sets.paint`.
        names: the contents to paint, style by style.

    Raises:
        InputError: a machine that cannot load the model.
    """
    import ray

    waiting = {}  # {reference of an outcome: name}; those of a run that is stopped end with the connection
    remote = ray.remote(max_retries=RETRIES, **{f"num_{model.device}s": 1})
    prepare_task, paint_task = remote(_prepare), remote(_paint)
    spec = style = None
    for name in names:
        if plan.style_of(name)[1] != spec:
            spec = plan.style_of(name)[1]
            paths = tuple(path.absolute() for path in spec.paths)  # processes there begin in folders of their own
            style = prepare_task.remote(model, replace(spec, paths=paths), options)
            most = AHEAD * max(1, int(ray.cluster_resources().get(model.device.upper(), 1)))  # machines come and go
        files = os.path.abspath(plan.contents[name]), os.path.abspath(plan.output_of(name))
        waiting[paint_task.remote(model, *files, style, options)] = name
        while len(waiting) >= most:
            yield _next(ray, waiting, record)
    while waiting:
        yield _next(ray, waiting, record)


def _next(ray, waiting, record):
    """The Outcome that is there first; it is taken out of `waiting` and recorded."""
    reference = ray.wait(list(waiting))[0][0]
    name = waiting.pop(reference)
    try:
        outcome = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(str(error.cause)) from None
        raise
    except ray.exceptions.RayError:
        problem = f"{name}: its process ended {RETRIES + 1} times; it may need more memory than there is: lower --size"
        outcome = Outcome(None, problem=problem, trouble="not painted")
    record(name, outcome)
    return outcome


@functools.lru_cache(1)
def _painter(model):
    """The Stylizer of this process, which paints on one thread where ONNX Runtime does the work."""
    stylizer = load(model.model, device=model.device, engine=model.engine)
    if stylizer.fingerprint != model.fingerprint:
        raise InputError(f"{model.model} is another network on another machine of the cluster: give all the same file")
    return stylizer.side_by_side()[0]


def _prepare(model, spec, options):
    """What `_paint` takes as `style`: a prepared style, or the InputError of one that cannot be read."""
    painter = _painter(model)
    try:
        style = spec.prepare(painter, **options.style_arguments(0))
    except InputError as error:
        return error
    # As NumPy arrays: Paddle 2.6 cannot send tensors to another process. Regions are for contents with masks.
    return style if isinstance(style, ProgramStyle) else (style.state_dicts(), style.fingerprint)


def _paint(model, content, output, style, options):
    """The Outcome of painting a file into a file; `style` is what `_prepare` gave."""

    def prepared(_):
        if isinstance(style, InputError):
            raise style
        if isinstance(style, ProgramStyle):
            return style
        from ppadaattn.model.attention import state_from_dict  # here, because it loads Paddle

        states, fingerprint = style
        return Style({level: state_from_dict(state) for level, state in states.items()}, fingerprint)

    return paint_file(_painter(model), content, output, prepared, options)
