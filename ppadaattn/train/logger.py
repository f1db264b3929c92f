"""The log of a run: lines on the screen and in log.txt, pictures in folders, and numbers and pictures in VisualDL."""

import sys
from pathlib import Path

from ppadaattn.errors import InputError
from ppadaattn.media.images import write_image

from tqdm import tqdm


class Logger:
    """Writes to a run's folder. Training does not need VisualDL: where it is missing or fails, one warning says so.

    Args:
        folder: of the run; None for a silent process (all but the first of several).
        visualdl: whether to write VisualDL's files, to the folder's vdl/.
    """

    def __init__(self, folder, visualdl=False):
        self.folder = None if folder is None else Path(folder)
        self._visualdl = None
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self.folder / "log.txt", "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise InputError(f"the run's folder {folder} cannot be written: {error.strerror or error}") from None
        if visualdl:
            self._try(self._open_visualdl)

    def text(self, line):
        if self.folder is None:
            return
        with tqdm.external_write_mode():  # above the progress bar, where there is one
            print(line, flush=True)
        self._file.write(line + "\n")
        self._file.flush()

    def scalars(self, step, values):
        """{tag: float} for VisualDL, at a step."""
        for tag, value in values.items():
            self._try(lambda: self._visualdl.add_scalar(tag=tag, step=step, value=value), tag)  # noqa: B023 - called now

    def picture(self, step, tag, image):
        """A uint8 H x W x 3 as TAG/iter_STEP.jpg, and for VisualDL."""
        if self.folder is None:
            return
        write_image(self.folder / tag / f"iter_{step}.jpg", image)
        self._try(lambda: self._visualdl.add_image(tag=tag, img=image, step=step), tag)

    def close(self):
        if self.folder is not None:
            self._file.close()
            self._try(lambda: self._visualdl.close(), "close")

    def _open_visualdl(self):
        from visualdl import LogWriter

        self._visualdl = LogWriter(logdir=str(self.folder / "vdl"))

    def _try(self, action, tag=None):
        if tag is not None and self._visualdl is None:
            return
        try:
            action()
        except Exception as error:  # of any kind: training continues
            self._visualdl = None
            reason = "it is not installed: pip install visualdl" if isinstance(error, ImportError) else repr(error)
            print(f"warning: VisualDL is not used from here on ({reason}); training continues", file=sys.stderr)
