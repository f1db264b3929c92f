"""`ppadaattn paint --content camera:0`, with a camera and a window that are made of Python."""

import types

from ppadaattn.cli import paint

import numpy as np
import pytest
from conftest import smooth
from PIL import Image

cv2 = pytest.importorskip("cv2")

FRAME = smooth(np.random.RandomState(0), 48, 64)


class Camera:
    """A cv2.VideoCapture of some frames; opened or not."""

    def __init__(self, frames=10, opened=True):
        self.frames, self.opened, self.released = frames, opened, False

    def __call__(self, number):
        self.number = number
        return self

    def isOpened(self):  # noqa: N802
        return self.opened

    def read(self):
        self.frames -= 1
        return self.frames >= 0, FRAME[:, :, ::-1]

    def release(self):
        self.released = True


@pytest.fixture
def screen(monkeypatch):
    """The module `cv2` with windows: its `shown` pictures and `titles`, its `keys` to be pressed."""
    made = types.SimpleNamespace(shown=[], titles=[], keys=[], closed=False)
    functions = {
        "getBuildInformation": lambda: "  GUI:    QT5\n",
        "namedWindow": lambda *_: None,
        "imshow": lambda _, picture: made.shown.append(picture),
        "setWindowTitle": lambda _, title: made.titles.append(title),
        "waitKey": lambda _: ord(made.keys.pop(0)) if made.keys else -1,
        "getWindowProperty": lambda *_: 0.0 if made.closed else 1.0,
        "destroyAllWindows": lambda: None,
    }
    for name, function in functions.items():
        monkeypatch.setattr(cv2, name, function, raising=False)
    return made


def use(monkeypatch, **options):
    camera = Camera(**options)
    monkeypatch.setattr(cv2, "VideoCapture", camera)
    return camera


def command(tmp_path, picture, *more):
    styles = [str(picture("a.png", 32, 40)), str(picture("bcd.png", 32, 40))]
    return paint.main(["--content", "camera:1", "--style", *styles, "--output", str(tmp_path / "kept"), *more])


def test_styles_snapshots_and_the_end(screen, monkeypatch, tmp_path, picture, capsys):
    camera = use(monkeypatch)
    screen.keys[:] = ["x", "s", "n", "s", "q"]
    assert command(tmp_path, picture) == 0
    assert camera.number == 1 and camera.released and len(screen.shown) == 5
    first, second = (np.asarray(Image.open(tmp_path / "kept" / name)) for name in ("a_1.png", "bcd_2.png"))
    np.testing.assert_array_equal(first, screen.shown[1][:, :, ::-1])
    np.testing.assert_array_equal(screen.shown[0], screen.shown[1])
    assert first.shape == (48, 64, 3) and np.abs(first.astype(int) - second).mean() > 1
    assert screen.titles[0].startswith("a, ") and screen.titles[-1].endswith(" frames per second")
    assert "q ends, n takes the next style" in capsys.readouterr().out


def test_the_window_is_closed(screen, monkeypatch, tmp_path, picture):
    use(monkeypatch)
    screen.closed = True
    assert command(tmp_path, picture, "--size", "32") == 0
    assert [shown.shape for shown in screen.shown] == [(24, 32, 3)]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--content", "a.png"], "a camera is painted alone"),
        (["--fps", "3"], "--fps does nothing with a camera"),
        (["--style-mode", "mix"], "--style-mode does nothing with a camera"),
        (["--style-scale", "1"], "--style-scale does nothing with a camera"),
    ],
)
def test_options_of_files(more, sentence, screen, monkeypatch, tmp_path, picture, capsys):
    use(monkeypatch)
    assert command(tmp_path, picture, *more) == 2
    assert sentence in capsys.readouterr().err


def test_no_camera_and_no_windows(screen, monkeypatch, tmp_path, picture, capsys):
    camera = use(monkeypatch, opened=False)
    assert command(tmp_path, picture) == 2 and camera.released
    assert "there is no camera 1 that OpenCV can open" in capsys.readouterr().err
    use(monkeypatch, frames=1)
    assert command(tmp_path, picture) == 2
    assert "the camera gives no more pictures" in capsys.readouterr().err
    camera = use(monkeypatch)
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:   NONE\n")
    assert command(tmp_path, picture) == 2 and camera.released
    assert "this OpenCV has no windows: pip uninstall opencv-python-headless" in capsys.readouterr().err
