"""Reading, writing and arranging pictures."""

import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

from ppadaattn.errors import InputError
from ppadaattn.media import images
from ppadaattn.media.images import contact_sheet, find_images, flatten, read_image, write_image

import numpy as np
import pytest
from PIL import Image

# What each EXIF orientation asks of the stored array (TIFF 6.0 / EXIF 2.3, tag 0x0112).
ORIENTATIONS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    array = np.zeros((32, 48, 3), "uint8")
    array[:16, :16], array[:16, 32:], array[16:, :24] = (250, 0, 0), (0, 250, 0), (0, 0, 250)  # no symmetry
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(array).save(tmp_path / f"a{suffix}", exif=exif, quality=100)
    expected = ORIENTATIONS[orientation](array)
    assert np.abs(read_image(tmp_path / f"a{suffix}").astype(int) - expected).mean() < 5


@pytest.mark.parametrize("suffix", images.FORMATS)
def test_every_format_round_trips(tmp_path, suffix):
    gradient = np.add.outer(np.arange(40), np.arange(50)).astype("uint8")[:, :, None] * np.array([1, 2, 0], "uint8")
    write_image(tmp_path / f"a{suffix.upper()}", gradient)
    difference = np.abs(read_image(tmp_path / f"a{suffix.upper()}").astype(int) - gradient)
    assert difference.max() <= (12 if suffix in (".jpg", ".jpeg", ".webp") else 0)
    assert os.listdir(tmp_path) == [f"a{suffix.upper()}"]


def test_grey_palette_and_other_modes_become_rgb(tmp_path, rng):
    grey = rng.randint(0, 256, (20, 30)).astype("uint8")
    for mode in ("L", "P", "CMYK", "1"):
        path = tmp_path / f"{mode}.tif"
        Image.fromarray(grey).convert(mode).save(path)
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_image(tmp_path / "L.tif"), np.repeat(grey[:, :, None], 3, 2))


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height, bits=8, colour=2):
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))


def write_png16(path, array):
    """A 16-bit PNG, grey H x W or colour H x W x 3, written by hand."""
    height, width = array.shape[:2]
    header = png_header(width, height, bits=16, colour=2 if array.ndim == 3 else 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    path.write_bytes(header + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b""))


@pytest.mark.parametrize("channels", [(), (3,)])
def test_16_bit_png(tmp_path, rng, channels):
    array = rng.randint(0, 65536, (20, 30, *channels))
    write_png16(tmp_path / "a.png", array)
    expected = (array >> 8).astype("uint8")
    expected = expected if channels else np.repeat(expected[:, :, None], 3, 2)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_16_bit_tiff(tmp_path, rng):
    array = rng.randint(0, 65536, (20, 30)).astype("uint16")
    Image.fromarray(array).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[:, :, 1], array >> 8)


def test_alpha_is_read_written_and_laid_on_white(tmp_path, rng):
    array = rng.randint(0, 256, (20, 30, 4)).astype("uint8")
    array[:2, :, 3], array[2:4, :, 3] = 0, 255
    for suffix in (".png", ".tif"):
        write_image(tmp_path / f"a{suffix}", array)
        np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), array)
    share = array[:, :, 3:] / 255
    np.testing.assert_allclose(flatten(array), array[:, :, :3] * share + 255 * (1 - share), atol=0.51)
    write_image(tmp_path / "a.bmp", array)  # has no alpha
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp"), flatten(array))
    palette = Image.fromarray(array[:, :, :3]).quantize(8)
    palette.save(tmp_path / "p.png", transparency=3)
    assert read_image(tmp_path / "p.png").shape == (20, 30, 4)


def test_reduced_never_enlarged(picture):
    path = picture("a.png", 40, 100)
    assert read_image(path, 50).shape == (20, 50, 3)
    assert read_image(path, 0).shape == read_image(path, 100).shape == read_image(path, 4000).shape == (40, 100, 3)


def test_find_images(picture, tmp_path, monkeypatch):
    for name in ("b/2.png", "b/1.JPG", "b/.hidden.png", "b/deeper/3.png", "a[1].png", "c [d]/4.png"):
        picture(name)
    (tmp_path / "b" / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b" / "folder.png").mkdir()
    found = [str(path) for path in find_images(["a[1].png", "b", "b/*.png", tmp_path / "b" / "2.png", "**/3.png"])]
    for pattern in ("c [d]/*.png", "c [d]/**/*.png", tmp_path / "c [d]" / "?.png"):
        assert [path.name for path in find_images([pattern])] == ["4.png"]
    assert found == ["a[1].png", os.path.join("b", "1.JPG"), os.path.join("b", "2.png"), os.path.join("b/deeper/3.png")]


def test_contact_sheet_has_contents_down_and_styles_across():
    def plain(value, height=32, width=64):
        return np.full((height, width, 3), value, "uint8")

    contents, styles = [plain(10), plain(20, 64, 32)], [plain(30), plain(40, 128, 128), plain(50)]
    results = {(0, 0): plain(60), (1, 2): plain(70)}
    sheet = contact_sheet(contents, styles, results, cell=64, gap=4)
    rows, columns = (64, 32, 64), (64, 64, 64, 64)  # the highest and the widest picture of each
    assert sheet.shape == (sum(rows) + 4 * 4, sum(columns) + 5 * 4, 3)
    centres = sheet[[4 + 32, 72 + 16, 108 + 32]][:, 4 + 32 :: 68, 0]
    np.testing.assert_array_equal(centres, [[255, 30, 40, 50], [10, 60, 255, 255], [20, 255, 255, 70]])
    assert (sheet[4 + 10, 72 : 72 + 64] == 255).all()  # above the flat style: white, not stretched


BAD = {
    "missing": lambda path: None,
    "text": lambda path: path.write_text("hello"),
    "empty": lambda path: path.write_bytes(b""),
    "folder": lambda path: path.mkdir(),
    "one pixel": lambda path: Image.new("RGB", (1, 1)).save(path),
    "15 pixels": lambda path: Image.new("RGB", (400, 15)).save(path),
    "huge header": lambda path: path.write_bytes(png_header(60000, 60000) + png_chunk(b"IDAT", b"")),
    "zero pixels": lambda path: path.write_bytes(png_header(0, 0) + png_chunk(b"IEND", b"")),
    "large": lambda path: Image.new("1", (18000, 10000)).save(path),  # over the limit, under twice the limit
    "32-bit numbers": lambda path: Image.fromarray(np.zeros((20, 20), "int32")).save(path, "TIFF"),
    "floating point": lambda path: Image.fromarray(np.zeros((20, 20), "float32")).save(path, "TIFF"),
}
SENTENCES = {
    "missing": "there is no file",
    "text": "is not a picture that can be read; expected AVIF, BMP, GIF, HEIF, JPEG, JPEG2000, PNG, PPM",
    "empty": "is not a picture",
    "one pixel": "is 1 x 1 pixels; each side must be at least 16",
    "15 pixels": "is 400 x 15 pixels",
    "huge header": "has more pixels than the",
    "large": "has more pixels than the",
    "32-bit numbers": "save it with 8 or 16 bits",
    "folder": "a.png cannot be read: Is a directory",
    "floating point": "save it with 8 or 16 bits",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_pictures_are_one_sentence(tmp_path, kind):
    path = tmp_path / "a.png"
    BAD[kind](path)
    with pytest.raises(InputError, match=SENTENCES.get(kind, "a.png")) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", images.FORMATS)
def test_truncated_pictures_are_refused(picture, suffix):
    path = picture(f"a{suffix}", 64, 64)
    whole = path.read_bytes()
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match="cut short|not a picture"):
            read_image(path)


def test_reducing_below_16_pixels_is_refused(picture):
    with pytest.raises(InputError, match="reduced to a long side of 100, is 100 x 12 pixels"):
        read_image(picture("a.png", 60, 500), 100)
    for size in (-3, None, "100"):
        with pytest.raises(InputError, match="a size is a number of pixels"):
            read_image(picture("a.png"), size)


def test_nothing_is_half_written(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_image(path, np.zeros((20, 20, 3), "uint8"))
    before = path.read_bytes()

    def full_disk(self, file, **_):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(InputError, match=r"a\.png cannot be written: No space left on device"):
        write_image(path, np.ones((20, 20, 3), "uint8"))
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.png"]
    monkeypatch.undo()
    with pytest.raises(InputError, match="choose another format"):
        write_image(tmp_path / "a.webp", np.zeros((16, 17000, 3), "uint8"))
    assert os.listdir(tmp_path) == ["a.png"]
    for wrong in (np.zeros((20, 20, 3)), np.zeros((20, 20), "uint8"), np.zeros((20, 20, 2), "uint8")):
        with pytest.raises(InputError, match="must be uint8 H x W x 3 or 4"):
            write_image(path, wrong)
    with pytest.raises(InputError, match="pictures are written as .jpg"):
        write_image(tmp_path / "a.gif", np.zeros((20, 20, 3), "uint8"))


def test_threads_that_read_leave_the_filters_of_warnings_as_they_were(picture):
    path, before = picture("a.png"), list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(read_image, [path] * 400))
    assert warnings.filters == before
