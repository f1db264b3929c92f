"""Long work that ends between two steps when it is told to, not in the middle of one."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def stop_when_asked():
    """A list that gets the signal when the process is interrupted or told to end; a second time ends it at once.

    An exception in the middle of a step would leave results of two steps. Outside the main thread, which is the one
    that gets signals, the list stays empty.
    """
    asked = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def remember(number, _):
        asked.append(number)
        signal.signal(number, before[number] or signal.SIG_DFL)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
