"""Pictures that would take long to decode are refused before; decoders write no lines of their own."""

import io
import subprocess
import sys

from ppadaattn.errors import InputError
from ppadaattn.media import decoding
from ppadaattn.media.decoding import count_scans
from ppadaattn.media.images import read_image

import numpy as np
import pytest
from conftest import ENVIRONMENT
from fuzz import many_scans, many_strips, run_length_bmp
from PIL import Image


def saved(kind, size=(64, 48), **options):
    file, numbers = io.BytesIO(), np.random.RandomState(0)
    Image.fromarray(numbers.randint(0, 256, (*size[::-1], 3)).astype("uint8")).save(file, kind, **options)
    return file.getvalue()


def test_scans_are_those_that_jpegs_have():
    """An independent count: Pillow's encoder makes one scan of a baseline file, ten of a progressive one in colour."""
    thumbnail = Image.Exif()
    thumbnail[0x9286] = b"\xff\xda" * 500  # a comment that looks like scans
    assert count_scans(saved("JPEG"), 100) == 1
    assert count_scans(saved("JPEG", exif=thumbnail, restart_marker_blocks=1), 100) == 1
    assert count_scans(saved("JPEG", progressive=True, exif=thumbnail), 100) == 10
    assert count_scans(saved("JPEG") + saved("JPEG", progressive=True), 100) == 1  # behind the end is another picture
    assert count_scans(many_scans(50), 100) == 59
    assert count_scans(many_scans(1000), 100) == 101  # it stops there
    for data in (b"", b"\xff", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xe1\xff\xff" + b"\xff\xda"):
        assert count_scans(data, 100) == 0


@pytest.mark.parametrize("as_bytes", [True, False])
def test_a_jpeg_of_very_many_scans_is_refused(tmp_path, as_bytes):
    path = tmp_path / "a.jpg"
    path.write_bytes(many_scans(1000))
    with pytest.raises(InputError, match=r"has more than 100 scans, which .*; save it as a baseline JPEG$"):
        read_image(path.read_bytes() if as_bytes else path)
    path.write_bytes(many_scans(50))
    assert read_image(path).shape == (1000, 1000, 3)


def test_large_jpegs_may_have_fewer_scans(monkeypatch):
    data = many_scans(50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000_000)
    with pytest.raises(InputError, match="has more than 40 scans"):
        read_image(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read_image(data).shape == (1000, 1000, 3)


def test_strips_and_run_lengths_are_bounded(monkeypatch):
    with pytest.raises(InputError, match=r"the picture has 150000 strips, expected 100000 at most; save it as PNG"):
        read_image(many_strips(150_000))
    assert read_image(many_strips(2000)).shape == (2000, 16, 3)
    assert read_image(run_length_bmp()).shape == (64, 64, 3)
    monkeypatch.setattr(decoding, "MOST_RUN_LENGTH_PIXELS", 4000)
    with pytest.raises(InputError, match="is run-length encoded and has 4096 pixels, more than the 4000"):
        read_image(run_length_bmp())


def test_bytes_that_cannot_be_read_are_not_in_the_message():
    for data in (b"\0" * 1000, saved("PNG")[:200], saved("PNG", (8, 8))):
        with pytest.raises(InputError, match="^the picture ") as error:
            read_image(data)
        assert len(str(error.value)) < 300


def test_libtiff_writes_no_lines_of_its_own(tmp_path):
    data = bytearray(saved("TIFF", compression="tiff_lzw"))
    data[8:200] = bytes(192)
    (tmp_path / "a.tif").write_bytes(data)
    script = (
        "import sys; from ppadaattn.errors import InputError; from ppadaattn.media.images import read_image\n"
        "try: read_image(sys.argv[1])\nexcept InputError as error: print(error)"
    )
    words = [sys.executable, "-c", script, str(tmp_path / "a.tif")]
    done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT)
    assert "a.tif cannot be read, it may be damaged or cut short" in done.stdout and done.stderr == ""
