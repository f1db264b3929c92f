"""Long work that ends between two steps when it is told to, not in the middle of one."""

import contextlib
import os
import signal
import threading


@contextlib.contextmanager
def stop_when_asked(answer=None):
    """A list that receives the signal when the process is interrupted or told to end; a second signal ends it at once.

    An exception in the middle of a step would leave results of two steps. Outside the main thread, the only one that
    receives signals, the list stays empty.

    Args:
        answer: a function that gives a line to print on stderr as soon as the signal arrives.
    """
    asked = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def remember(number, _):
        asked.append(number)
        if answer is not None:
            with contextlib.suppress(OSError):  # past Python's buffers, which the signal may have found half-written
                os.write(2, f"\n{answer()}\n".encode())
        signal.signal(number, before[number] or signal.SIG_DFL)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
