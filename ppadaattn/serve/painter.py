"""Painting in a process of its own, the worker, which can be ended at any time and started again.

Service and worker speak through the worker's standard input and output: a message is a line of JSON, whose 'length'
says how many bytes of data follow. What strangers send is parsed and decoded in the worker alone
(`ppadaattn.serve.worker`).
"""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time

from ppadaattn.errors import InputError
from ppadaattn.serve.limits import FORMATS, Limits

START_SECONDS = 600  # for loading the models, on the slowest machine
WATCH = 0.1  # seconds between two looks at the time and at the memory of the worker
LONGEST_LINE = 2**20  # bytes of a message without its data
PIECE = 2**20  # bytes that are copied at once
COMMAND = "import sys; sys.path[:] = {path!r}; from ppadaattn.serve.worker import main; main()"


class PainterError(Exception):
    """A request that the worker did not answer. Has the `status` of HTTP; the message is a sentence."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Painter:
    """A worker with its models, for any thread; one request is painted at a time.

    Args:
        models: {name: path of its weights, or name of the zoo}.
        device: as `ppadaattn.load` takes it.
        limits: Limits; None: its defaults.
        suffix: format of the results, one of `ppadaattn.images.FORMATS`.
        threads: that the worker computes with; None: as `ppadaattn.runtime` says, all cores.
    """

    def __init__(self, models, device=None, limits=None, suffix=f".{FORMATS[0]}", threads=None):
        self.models, self.device = {name: str(model) for name, model in models.items()}, device
        self.limits, self.suffix = limits or Limits(), suffix
        self._environment = {} if threads is None else {"MKL_NUM_THREADS": str(threads)}
        self.starts = 0  # of a worker
        self._process, self._loaded, self._closed = None, False, False
        self._ended_for = None  # the PainterError that ended the worker
        self._talking = threading.Lock()  # to the worker
        self._starting = threading.Lock()  # against `close`

    @property
    def ready(self):
        """Whether a worker runs whose models are loaded."""
        return self._loaded and self._process.poll() is None

    @property
    def memory(self):
        """Bytes of resident memory of the worker; 0 where it does not run or where the system does not say."""
        process = self._process
        if process is None or process.poll() is not None:
            return 0
        try:
            with open(f"/proc/{process.pid}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return 0

    def start(self):
        """Start a worker in place of the last one and wait until its models are loaded.

        Raises InputError, with the worker's sentence, where they cannot be; PainterError where it ends otherwise.
        """
        with self._talking:
            self._discard()
            with self._starting:
                if self._closed:
                    raise _closing()
                self._process = subprocess.Popen(
                    [sys.executable, "-c", COMMAND.format(path=sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, **self._environment},
                    start_new_session=True,  # Ctrl-C in a terminal is for the service, which ends the worker last
                )
            self.starts += 1
            settings = {"models": self.models, "device": self.device, "suffix": self.suffix}
            late = PainterError(503, f"the worker did not load its models within {START_SECONDS} s")
            with self._watched([(START_SECONDS, late)]):
                send(self._process.stdin, {**settings, "limits": dataclasses.asdict(self.limits)})
                answer, _ = receive(self._process.stdout)
            if "error" in answer:
                self._discard()
                raise InputError(answer["error"])
            self._loaded = True

    def paint(self, name, body, goes_on):
        """The answer to a request, by a worker that is `ready`.

        Args:
            name: of the model.
            body: the request, a binary file that is read to its end.
            goes_on: a function without arguments, asked between two pictures: False ends the request.

        Returns:
            ({'status': of HTTP, 'message': text, 'pictures': number}, the JSON of the results as bytes).

        Raises:
            PainterError: the worker crashed, or was ended because it used too much time or memory, or by `close`.
        """
        seconds = self.limits.request_seconds
        return self._ask({"model": name}, body, lambda *_: goes_on(), seconds, "pictures, or fewer")

    def paint_job(self, job, report):
        """Paint a job, by a worker that is `ready`.

        Args:
            job: as `ppadaattn.serve.tasks.paint_job` takes it.
            report: a function of (dict of progress, bytes of a small picture or b""), called after each step: what it
                returns says whether the job goes on.

        Returns:
            {'status': of HTTP, 'message': text, ...}.

        Raises:
            PainterError: as `paint` does; a clip has `clip_seconds` for all of it, and `request_seconds` for a step.
        """
        clip = job["clip"]
        seconds = self.limits.clip_seconds if clip else self.limits.request_seconds
        return self._ask({"job": job}, None, report, seconds, "frames, or fewer" if clip else "pictures")[0]

    def _ask(self, message, body, report, seconds, smaller):
        """(last answer of the worker, its data): the worker takes a step, `report` is told, until it gives a status."""
        memory, end = self.limits.worker_memory, time.monotonic() + seconds
        large = PainterError(413, f"painting took more than {memory} MiB of memory; send smaller {smaller}")
        memories = [(memory * 2**20, large)] if memory else []
        with self._talking:
            while True:
                left, step = end - time.monotonic(), self.limits.request_seconds
                allowed = seconds if left < step else step
                late = PainterError(504, f"painting took longer than {allowed:g} s; send smaller {smaller}")
                with self._watched([(min(left, step), late)], memories):
                    send(self._process.stdin, message, body)
                    answer, data = receive(self._process.stdout)
                if "status" in answer:
                    return answer, data
                message, body = {"goes_on": report(answer, data)}, None

    def stop(self):
        """End the worker, which paints nothing now; `start` starts another one."""
        with self._talking:
            self._discard()

    def close(self):
        """End the worker, whatever it does; no other one is started."""
        with self._starting:
            self._closed = True
            self._kill()
        with self._talking:  # which ends at once without a worker
            self._discard()

    @contextlib.contextmanager
    def _watched(self, times, memories=()):
        """Raise PainterError where the worker ends in this block; end it beyond a limit: pairs of (limit, error)."""
        self._ended_for, done, start = None, threading.Event(), time.monotonic()

        def watch():
            while not done.wait(WATCH):
                passed, memory = time.monotonic() - start, self.memory
                over = [error for limit, error in times if passed > limit]
                over += [error for limit, error in memories if memory > limit]
                if over:
                    self._ended_for = over[0]
                    self._kill()
                    return

        watcher = threading.Thread(target=watch, name="watcher")
        watcher.start()
        try:
            yield
        except (OSError, ValueError):  # a closed pipe, half a message
            self._discard()
            raise (_closing() if self._closed else self._ended_for or _crash(self._process.returncode)) from None
        finally:
            done.set()
            watcher.join()

    def _kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _discard(self):
        """End the worker and close its pipes, which only the thread that talks to it may do."""
        self._loaded = False
        self._kill()
        for pipe in (self._process.stdin, self._process.stdout) if self._process is not None else ():
            with contextlib.suppress(OSError):  # what was not sent cannot be any more
                pipe.close()


def _closing():
    return PainterError(503, "the service ends; send the request again later")


def _crash(code):
    how = f"signal {-code}" if code < 0 else f"exit status {code}"
    return PainterError(500, f"the worker ended in the middle of this request ({how}); another one is started")


def send(file, message, data=None):
    """Write a message, a dict of plain values, with the rest of the binary file `data` as its data."""
    length = 0
    if data is not None:
        start = data.tell()
        length = data.seek(0, os.SEEK_END) - start
        data.seek(start)
    file.write(json.dumps({**message, "length": length}).encode("ascii") + b"\n")
    if length:
        shutil.copyfileobj(data, file, PIECE)
    file.flush()


def receive(file):
    """(message, its data as bytes) of the next message; an OSError or a ValueError where there is none."""
    line = file.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise BrokenPipeError("the other side has ended")
    message = json.loads(line)
    data = file.read(message["length"])
    if len(data) < message["length"]:
        raise BrokenPipeError("the other side has ended in the middle of a message")
    return message, data
