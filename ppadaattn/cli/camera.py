"""Paint a camera in a window, with OpenCV. Keys: q ends, n takes the next style, s keeps the picture."""

import itertools
import re
import time
from pathlib import Path

from ppadaattn.errors import InputError, import_optional
from ppadaattn.media.images import reduce_to, write_image

import numpy as np

SIDE = 256  # long side of the frames unless --size says another: a few frames per second on two cores
TITLE = "ppadaattn"
SMOOTH = 0.9  # share that the frames before have in the time of a frame that is shown


def is_camera(content):
    """Whether a content is called camera:N."""
    return re.fullmatch(r"camera:\d+", content) is not None


def paint(stylizer, content, styles, folder, options):
    """Paint until the user ends it. Returns the exit status.

    Args:
        content: `camera:N`.
        styles: [(name, Style)].
        folder: for snapshots, STYLE_NUMBER.png.
        options: a PaintOptions.

    Raises:
        InputError: no OpenCV, one without windows, no camera, or one that ends.
    """
    cv2 = import_optional("cv2", "opencv-python", "cameras")
    number = int(content.partition(":")[2])
    video = cv2.VideoCapture(number)
    try:
        if not video.isOpened():
            raise InputError(f"there is no camera {number} that OpenCV can open; the first one is camera:0")
        _open_window(cv2)
        print(f"{content}: q ends, n takes the next style, s keeps the picture in {folder}")
        _paint_frames(cv2, video, stylizer, styles, Path(folder), options)
    finally:
        video.release()
        if _has_windows(cv2):
            cv2.destroyAllWindows()
    return 0


def _has_windows(cv2):
    """Whether this OpenCV was built with windows; the headless wheels were not."""
    found = re.search(r"^ *GUI: *(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    return found is not None and found[1] != "NONE"


def _open_window(cv2):
    if not _has_windows(cv2):
        raise InputError("this OpenCV has no windows: pip uninstall opencv-python-headless, pip install opencv-python")
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    except cv2.error as error:
        raise InputError("no window can be opened here: a camera needs a screen") from error


def _paint_frames(cv2, video, stylizer, styles, folder, options):
    took, before, kept, turn = 0.0, time.perf_counter(), itertools.count(1), 0
    while True:
        read, frame = video.read()
        if not read:
            raise InputError("the camera gives no more pictures: is it in use elsewhere, or unplugged?")
        picture = reduce_to(np.ascontiguousarray(frame[:, :, ::-1]), options.size or max(frame.shape[:2]))
        name, style = styles[turn % len(styles)]
        how = {"strength": options.strength, "preserve_color": options.preserve_color}
        (painted,) = stylizer.paint(picture[None], style, **how)
        cv2.imshow(TITLE, np.ascontiguousarray(painted[:, :, ::-1]))
        now = time.perf_counter()
        took, before = SMOOTH * took + (1 - SMOOTH) * (now - before) if took else now - before, now
        cv2.setWindowTitle(TITLE, f"{name}, {1 / took:.1f} frames per second")
        key = cv2.waitKey(1) & 0xFF
        if key == ord("n"):
            turn += 1
        elif key == ord("s"):
            path = _free_path(folder, name, kept)
            write_image(path, painted)
            print(path)
        elif key == ord("q") or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            return


def _free_path(folder, name, numbers):
    return next(path for number in numbers for path in [folder / f"{name}_{number}.png"] if not path.exists())
