"""Load for the HTTP service: clients that send good requests, with attacks of strangers among them.

    python tests/load_serve.py --clients 8 --requests 200

starts `ppadaattn serve`, first sends good requests alone, then with attacks among them, ends it by SIGTERM while its
worker is stopped, and prints what came of it. Linux only, for it stops and kills the worker.
"""

import argparse
import collections
import io
import json
import os
import random
import re
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import ppadaattn

import numpy as np
from clients import (
    NAME,
    PATIENCE,
    ask,
    command,
    connected,
    expected_answers,
    holds_picture,
    inside,
    item,
    metric,
    png,
    post,
    text,
    wait_for,
)
from PIL import Image

HALF_SENT = 20  # connections
ENDED = (500, 504)  # answers to a request whose worker was killed or stopped in the middle


def slow_picture(scans=1000, side=3000):
    """A progressive JPEG whose last scan comes many times: few bytes, long to decode."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), "grey").save(file, "JPEG", progressive=True, quality=30)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


def attacks():
    """{name: (body of a request, statuses that it may be answered with)}."""
    good, huge = item(), text(png(np.zeros((5001, 5000, 3), "uint8")))
    large = text(png(np.zeros((3000, 4000, 3), "uint8")))

    def request(**changes):
        return json.dumps({"images": [{**good, **changes}]}).encode()

    def with_alpha(number):
        return b'{"alpha": %s, "images": [%s]}' % (number, json.dumps(good).encode())

    nested = b"[" * 900 + b"]" * 900
    return {
        "nested lists": (b'{"images": ' + b"[" * 500000, {400}),
        "nested dicts": (b'{"images": ' + b'{"a":' * 100000, {400}),
        "nested weights": (request(weights=0).replace(b'"weights": 0', b'"weights": ' + nested), {400}),
        "nested styles": (request(styles=0).replace(b'"styles": 0', b'"styles": ' + nested), {400}),
        "a number of a million digits": (with_alpha(b"9" * 10**6), {400}),
        "a number beyond floats": (with_alpha(b"1e999"), {400}),
        "no number": (with_alpha(b"NaN"), {400}),
        "weights beyond floats": (request(weights=[int("9" * 90)]).replace(b"9" * 90, b"-1e999"), {400}),
        "too large a body": (b" " * (16 * 2**20 + 1), {413}),
        "no picture": (request(content=text(os.urandom(10000))), {400}),
        "huge picture": (request(content=huge), {400}),
        "many pixels": (json.dumps({"images": [{"content": large, "styles": [large]}] * 8}).encode(), {400}),
        "style file": (request(styles=[text(b"\x80\x04cos\nsystem\n.")]), {400}),
        "many scans": (request(content=text(slow_picture())), {400}),
    }


def worker_of(process):
    """The process id of the worker of a service; None where it is not there."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == process and state != "Z":
            return int(name)
    return None


def send_to_worker(process, number):
    worker = worker_of(process)
    if worker is not None:
        os.kill(worker, number)


def half_sent(port, count=HALF_SENT):
    """Connections that have sent the first byte of their body."""
    connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        connection.sendall(f"POST /predict/{NAME} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
        connections.append(connection)
    return connections


class Load:
    """What came of requests: `seconds` of good answers, `wrong` ones, `answers` counted, `memory` at its most.

    Args:
        port, process: of the service; its process id.
        expected: base64 of the answers to `item(seed)`, seed = 0, 1, ...
    """

    def __init__(self, port, process, expected):
        self.port, self.process, self.expected = port, process, expected
        self.seconds, self.wrong, self.answers = [], [], collections.Counter()
        self.memory, self.slowest_health = collections.Counter(), 0

    def run(self, clients, requests, attacked, killed=False):
        """Send so many requests of each client.

        Args:
            clients, requests: their numbers.
            attacked: every third request is an attack, and connections stay half sent.
            killed: the worker is killed and stopped in turn.
        """
        done = threading.Event()
        given = [(name, *attack) for name, attack in attacks().items()] if attacked else []
        with ThreadPoolExecutor(clients + 2) as threads:
            watcher = threads.submit(self._watch, done)
            killer = threads.submit(self._kill, done) if killed else None
            held = half_sent(self.port) if attacked else []
            work = [threads.submit(self._client, number, requests, given) for number in range(clients)]
            try:
                for client in work:
                    client.result()
            finally:
                done.set()
                for connection in held:
                    connection.close()
            watcher.result()
            if killer:
                killer.result()
        return self

    def _client(self, number, requests, given):
        turns = random.Random(number)
        for turn in range(requests):
            if given and turn % 3 == 1:
                # Each attack comes once before one comes again, in another order for each client.
                name, body, allowed = given[(turn // 3 * 8 + number) % len(given)]
                status, answer = post(self.port, body)
                self.answers[f"{name}: {status}"] += 1
                if status not in {*allowed, *ENDED} or answer["results"] or not answer["msg"]:
                    self.wrong.append((name, status, answer["msg"]))
            elif given and turn % 20 == 8:
                with connected(self.port) as connection:  # a client that leaves
                    connection.request("POST", f"/predict/{NAME}", json.dumps({"images": [item()] * 4}))
                    time.sleep(turns.random() / 10)
                self.answers["left"] += 1
            else:
                self._good(turns.randrange(len(self.expected)))

    def _good(self, seed):
        start = time.monotonic()
        status, answer = post(self.port, {"images": [item(seed)]})
        self.answers[f"good: {status}"] += 1
        if status == 200:
            self.seconds.append(time.monotonic() - start)
            if not holds_picture(answer["results"], self.expected[seed]):
                self.wrong.append(("good", seed, "another picture"))
        elif status not in ENDED:
            self.wrong.append(("good", status, answer["msg"]))

    def _watch(self, done):
        names = {"service": "process_resident_memory_bytes", "worker": "ppadaattn_worker_resident_memory_bytes"}
        while not done.wait(0.2):
            start = time.monotonic()
            assert ask(self.port, "GET", "/health")[0] == 200
            self.slowest_health = max(self.slowest_health, time.monotonic() - start)
            for name, full in names.items():
                self.memory[name] = max(self.memory[name], metric(self.port, full))

    def _kill(self, done):
        """Kill the worker, stop it, and so on."""
        number = signal.SIGKILL
        while not done.wait(2):
            wait_for(lambda: inside(self.port) or done.is_set())
            send_to_worker(self.process, number)
            self.answers[f"worker: {signal.Signals(number).name}"] += 1
            number = signal.SIGSTOP if number == signal.SIGKILL else signal.SIGKILL
            starts = metric(self.port, "ppadaattn_worker_starts")
            wait_for(lambda starts=starts: metric(self.port, "ppadaattn_worker_starts") > starts or done.is_set())
            done.wait(20)


def end_while_stopped(process, port):
    """Stop the worker, leave one request in it, some waiting and some half sent, and send SIGTERM.

    Returns:
        (seconds until the end, exit status, list of the answers' statuses, errors that it printed).
    """
    wait_for(lambda: json.loads(ask(port, "GET", "/health")[2])["results"]["ready"])
    send_to_worker(process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(4) as clients:
        answers = [clients.submit(post, port, {"images": [item()]}) for _ in range(4)]
        wait_for(lambda: inside(port) == 4)
        held = half_sent(port, 3)
        wait_for(lambda: metric(port, "ppadaattn_uploads") == 3)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        problems = process.communicate(timeout=PATIENCE)[1]
        seconds = time.monotonic() - start
        statuses = [answer.result()[0] for answer in answers]
    for connection in held:
        statuses.append(int(re.match(rb"HTTP/1.1 (\d+)", connection.recv(1000))[1]))
        connection.close()
    return seconds, process.returncode, statuses, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=200, help="of each client (default: %(default)s)")
    parser.add_argument("--request-seconds", default="20", help="of the service (default: %(default)s)")
    parser.add_argument("--spare-worker", action="store_true", help="neither kill nor stop it during the load")
    args = parser.parse_args()
    expected = expected_answers(ppadaattn.load(NAME, device="cpu"))
    words = ["-m", "ppadaattn", "serve", "--model", NAME, "--format", "png", "--request-seconds", args.request_seconds]
    with command(*words) as (process, port):
        quiet = Load(port, process.pid, expected).run(args.clients, max(20, args.requests // 4), attacked=False)
        mixed = Load(port, process.pid, expected).run(
            args.clients, args.requests, attacked=True, killed=not args.spare_worker
        )
        seconds, status, statuses, _ = end_while_stopped(process, port)
    for name, load in (("quiet", quiet), ("mixed", mixed)):
        middle, most = np.percentile(load.seconds, (50, 100))
        print(f"{name}: {len(load.seconds)} good answers, median {middle:.2f} s, slowest {most:.2f} s")
        memory = ", ".join(f"{key} {value / 2**20:.0f} MiB" for key, value in load.memory.items())
        print(f"{name}: most memory: {memory}")
        print(f"{name}: slowest /health {load.slowest_health:.2f} s; wrong: {load.wrong[:5] or 'none'}")
    print("\n".join(f"  {count:5} {name}" for name, count in sorted(mixed.answers.items())))
    print(f"SIGTERM while the worker was stopped: ended after {seconds:.1f} s with status {status}; answers {statuses}")
    return 1 if quiet.wrong or mixed.wrong or status else 0


if __name__ == "__main__":
    sys.exit(main())
