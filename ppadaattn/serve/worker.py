"""The process that parses, decodes and paints the requests of the service, one after the other, until its input ends.

Whatever a request makes it do, the service ends it and starts another one.
"""

import contextlib
import io
import json
import logging
import os
import signal
import sys
import threading
import time
import warnings

from ppadaattn import runtime
from ppadaattn.errors import InputError, InputNote, one_line
from ppadaattn.infer.stylizer import load
from ppadaattn.serve.limits import CLIENT_LEFT, LONGEST_MESSAGE, Limits
from ppadaattn.serve.painter import receive, send
from ppadaattn.serve.protocol import check_pixels, decode, encode, parse, transfer
from ppadaattn.serve.tasks import StoppedError, paint_job, style_cache

from PIL import Image

PARENT_WATCH = 1  # seconds between two looks whether the service still runs


def main():
    """Do what the service says; the first message holds the settings."""
    _belong_to_the_service()
    requests, answers = sys.stdin.buffer, _own_output()
    with contextlib.suppress(BrokenPipeError):  # the service has ended
        settings, _ = receive(requests)
        limits = Limits(**settings["limits"])
        Image.MAX_IMAGE_PIXELS = limits.max_pixels
        try:
            stylizers = {name: load(model, device=settings["device"]) for name, model in settings["models"].items()}
        except InputError as error:
            send(answers, {"error": str(error)})
            return
        send(answers, {})

        def goes_on(progress=None, data=b""):
            send(answers, progress or {}, io.BytesIO(data))
            return receive(requests)[0]["goes_on"]

        prepare = style_cache(stylizers)
        while True:
            request, body = receive(requests)
            if "job" in request:
                status, message, about = answer_job(stylizers, prepare, request["job"], limits, goes_on)
                message = one_line(message, LONGEST_MESSAGE)
                send(answers, {**about, "status": status, "message": message})
                continue
            stylizer = stylizers[request["model"]]
            status, message, results = answer(stylizer, body, limits, settings["suffix"], goes_on)
            content = json.dumps(results, separators=(",", ":")).encode("ascii")
            message = one_line(message, LONGEST_MESSAGE)
            send(answers, {"status": status, "message": message, "pictures": len(results)}, io.BytesIO(content))


def answer(stylizer, body, limits, suffix, goes_on):
    """Paint a request.

    Args:
        stylizer: a Stylizer.
        body: bytes of the request.
        limits: Limits.
        suffix: format of the results, one of `ppadaattn.images.FORMATS`.
        goes_on: a function without arguments, asked between two pictures: False ends the request.

    Returns:
        (status of HTTP, message, list of {'data': base64 text}); the list is empty unless the status is 200.
    """

    def paint():
        images, alpha = parse(body, limits.max_pictures)
        items = decode(images, limits.style_files)
        check_pixels(items, limits.request_pixels)
        results = []
        for picture in transfer(stylizer, items, alpha, limits.size):
            results.append({"data": encode(picture, suffix)})
            if len(results) < len(items) and not goes_on():
                raise StoppedError
        return results

    return _outcome(paint, [])


def answer_job(stylizers, prepare, job, limits, goes_on):
    """(status of HTTP, message, what is said of the result) of a job; see `ppadaattn.serve.tasks.paint_job`."""
    return _outcome(lambda: paint_job(stylizers, prepare, job, limits, goes_on), {})


def _outcome(work, nothing):
    """(status of HTTP, message, what `work` returns, or `nothing` where it fails)."""
    try:
        return 200, "", work()
    except StoppedError:
        return CLIENT_LEFT, "", nothing
    except InputError as error:
        return 400, str(error), nothing
    except MemoryError:
        return 413, "these pictures need more memory than there is; send smaller pictures", nothing
    except BrokenPipeError:
        raise
    except Exception:
        logging.getLogger(__name__).exception("a request failed")
        return 500, "this request failed here; the service's log says how", nothing


def _own_output():
    """Standard output for messages alone: what libraries print there goes to standard error from now on."""
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return own


def _belong_to_the_service():
    """Signals for a whole group of processes are for the service; without it the worker ends; notes are one line."""
    runtime.import_paddle().disable_signal_handler()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    warnings.showwarning = _show_warning
    with contextlib.suppress(OSError):  # where memory runs out, Linux ends the worker, not the service
        if os.path.exists("/proc/self/oom_score_adj"):
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                file.write("1000")
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _show_warning(message, category, filename, lineno, file=None, line=None):
    note = issubclass(category, InputNote)
    text = f"note: {message}\n" if note else warnings.formatwarning(message, category, filename, lineno, line)
    sys.stderr.write(text)


def _end_with(parent):
    """End the process once its parent is another one: the service was killed while the worker paints."""
    while os.getppid() == parent:
        time.sleep(PARENT_WATCH)
    os._exit(1)
