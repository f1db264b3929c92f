"""Progress of long work in a terminal and in a log."""

import sys

from ppadaattn import progress
from ppadaattn.progress import progress_bar

import pytest
from tqdm import tqdm


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still; clock[0] are its seconds."""
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_log_gets_a_line_at_most_every_ten_seconds_and_one_at_the_end(clock, capsys):
    with progress_bar(total=2000, unit="picture", desc="paint") as bar:
        for _ in range(2000):
            clock[0] += 0.01
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) in (2, 3) and lines[-1].startswith("paint: 2000/2000 pictures, 00:20")
    assert not any("\r" in line for line in lines)


def test_a_log_has_no_line_of_what_ends_soon_or_is_silent(clock, capsys):
    for options in ({"delay": 0.5}, {"leave": False}, {"disable": True}, {"disable": None}):
        with progress_bar(total=3, **options) as bar:
            bar.update(3)
    assert capsys.readouterr().err == ""


def test_steps_of_an_earlier_run_count_for_the_sum_and_not_for_the_rate(clock, capsys):
    with progress_bar(unit="frame") as bar:
        bar.total, bar.initial, bar.n = 100, 80, 80
        clock[0] += 5
        bar.update(20)
    assert capsys.readouterr().err == "100/100 frames, 00:05,  4.00 frames/s\n"


def test_a_terminal_has_a_bar(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar(total=1, disable=True) as bar:
        assert isinstance(bar, tqdm)
