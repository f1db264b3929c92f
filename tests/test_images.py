"""Reading, writing and arranging pictures."""

import os
import re
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

from ppadaattn.errors import InputError, InputNote
from ppadaattn.media import images
from ppadaattn.media.images import contact_sheet, find_images, flatten, read_image, write_image
from ppadaattn.media.tags import srgb_profile

import numpy as np
import pytest
from PIL import Image, features

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


# Colours and tags -----------------------------------------------------------------------------------------------------


def icc_profile(space, tags):
    """An ICC profile, version 2, for a display, written by hand (ICC.1:2001, clause 6).

    Args:
        space: colour space of 4 letters.
        tags: {name of 4 letters: bytes}.
    """
    pcs = b"Lab " if b"A2B0" in tags else b"XYZ "
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 78
    tags = {**tags, b"desc": text, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz_tag((0.9642, 1, 0.8249))}
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(data), len(value))
        data += value + b"\0" * (-len(value) % 4)
    size = start + len(data)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x02400000, kind, space, pcs) + b"\0" * 12 + b"acsp"
    head += b"\0" * 28 + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + data


def xyz_tag(xyz):
    return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(value * 65536) for value in xyz))


def gamma_tag(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


# RGB to XYZ, adapted to D50, and gamma: of the published definitions. Apple's P3 has sRGB's curve, here 2.2 stands in.
WIDE_SPACES = {
    "Display P3": ([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]], 2.2),
    "Adobe RGB": ([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]], 2.2),
    "ProPhoto RGB": ([[0.7977, 0.1352, 0.0313], [0.2880, 0.7119, 0.0001], [0.0, 0.0, 0.8249]], 1.8),
}
SRGB_TO_XYZ = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 200, 0], [128, 128, 128], [90, 40, 160]], "uint8")


def wide_profile(space):
    matrix, gamma = WIDE_SPACES[space]
    columns = {name: xyz_tag(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), np.array(matrix).T)}
    return icc_profile(b"RGB ", {**columns, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma_tag(gamma))})


def in_space(space, colours):
    """sRGB colours as another space writes them, uint8, by the definitions (IEC 61966-2-1 for sRGB)."""
    matrix, gamma = WIDE_SPACES[space]
    values = colours / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    other = np.linalg.solve(np.array(matrix), SRGB_TO_XYZ @ linear.T).T.clip(0, 1)
    return (255 * other ** (1 / gamma)).round().astype("uint8")


def stripes(colours):
    return np.repeat(np.repeat(colours[None], 20, 0), 20, 1)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("space", WIDE_SPACES)
def test_colours_of_a_profile_become_srgb(tmp_path, space, suffix):
    stored = in_space(space, COLOURS)
    assert np.abs(stored.astype(int) - COLOURS).max() > 10
    lossless = {".jpg": {"quality": 100}, ".webp": {"lossless": True}}.get(suffix, {})
    options = {**images.FORMATS[suffix][1], **lossless, "icc_profile": wide_profile(space)}
    Image.fromarray(stripes(stored)).save(tmp_path / f"a{suffix}", **options)
    found = read_image(tmp_path / f"a{suffix}")[10, 10::20]
    # 8 bits of a wide space are 6 or 7 of sRGB at its border.
    assert np.abs(found.astype(int) - COLOURS).max() <= (20 if suffix == ".jpg" else 8)


def test_profiles_of_grey_alpha_palette_16_bits_and_cmyk(tmp_path):
    ramp = np.repeat(np.arange(0, 256, 8, dtype="uint8")[None], 20, 0)
    linear = icc_profile(b"GRAY", {b"kTRC": gamma_tag(1.0)})
    expected = np.where(ramp / 255 <= 0.0031308, ramp / 255 * 12.92, 1.055 * (ramp / 255) ** (1 / 2.4) - 0.055) * 255
    Image.fromarray(ramp).save(tmp_path / "grey.png", icc_profile=linear)
    Image.fromarray(ramp.astype("uint16") << 8).save(tmp_path / "grey16.tif", icc_profile=linear)
    for name in ("grey.png", "grey16.tif"):
        assert np.abs(read_image(tmp_path / name)[:, :, 1] - expected).max() <= 2

    stored = stripes(in_space("Display P3", COLOURS))
    alpha = np.full((*stored.shape[:2], 1), 77, "uint8")
    profile = wide_profile("Display P3")
    Image.fromarray(np.dstack([stored, alpha])).save(tmp_path / "alpha.png", icc_profile=profile)
    Image.fromarray(stored).quantize(8).save(tmp_path / "palette.png", icc_profile=profile)
    found = read_image(tmp_path / "alpha.png")
    assert (found[:, :, 3] == 77).all() and np.abs(found[10, 10::20, :3].astype(int) - COLOURS).max() <= 8
    assert np.abs(read_image(tmp_path / "palette.png")[10, 10::20].astype(int) - COLOURS).max() <= 8

    # Black ink alone counts here: with the naive conversion, cyan would come out cyan.
    corners = np.array([[255 - 255 * (corner & 1), 128, 128] for corner in range(16)], "uint8")
    curve = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    ink = icc_profile(b"CMYK", {b"A2B0": lut + curve * 4 + corners.tobytes() + curve * 3})
    inks = stripes(np.array([[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]], "uint8"))
    Image.frombytes("CMYK", (60, 20), inks.tobytes()).save(tmp_path / "ink.tif", icc_profile=ink)
    assert np.abs(read_image(tmp_path / "ink.tif")[10, 10::20].astype(int) - [[255], [255], [0]]).max() <= 2


@pytest.mark.parametrize(
    ("profile", "sentence"),
    [
        (b"nonsense", "its colour profile cannot be read: it is ignored"),
        (icc_profile(b"GRAY", {b"kTRC": gamma_tag(1.0)}), "is for GRAY, which it is not: the profile is ignored"),
        (wide_profile("Display P3")[:200], "its colour profile cannot be read: it is ignored"),
    ],
)
def test_a_profile_that_lies_is_ignored_with_a_note(tmp_path, profile, sentence):
    Image.fromarray(stripes(COLOURS)).save(tmp_path / "a.png", icc_profile=profile)
    with pytest.warns(InputNote, match=re.escape("a.png: ") + ".*" + sentence):
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), stripes(COLOURS))


def test_a_profile_of_srgb_changes_nothing(tmp_path, rng):
    array = rng.randint(0, 256, (40, 40, 3)).astype("uint8")
    Image.fromarray(array).save(tmp_path / "a.png", icc_profile=srgb_profile())
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), array)


@pytest.mark.parametrize("suffix", images.FORMATS)
def test_results_are_tagged_srgb_and_keep_date_camera_and_dpi(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0132] = 6, "Maker", "2020:02:03 04:05:06"
    exif[0x8769] = {0x9003: "2020:02:03 04:05:06", 0xA431: "serial number", 0x8827: 200}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 15.0)}
    Image.new("RGB", (40, 30)).save(tmp_path / "in.jpg", exif=exif, dpi=(300, 300))
    pixels, own_size, tags = images.read_picture(tmp_path / "in.jpg")
    assert own_size == (40, 30)  # turned
    for kept in (True, False):
        path = tmp_path / f"out{suffix}"
        write_image(path, pixels, tags if kept else tags.without_location())
        with Image.open(path) as image:
            found, info = image.getexif(), image.info
            if suffix == ".png":
                assert info["srgb"] == 0
            elif suffix != ".bmp":
                assert info["icc_profile"] == srgb_profile()
            if suffix != ".webp":
                assert np.abs(np.array(info["dpi"], float) - 300).max() < 1
            if suffix != ".bmp":
                assert (found.get(0x0112, 1), found[0x010F], found[0x0132]) == (1, "Maker", "2020:02:03 04:05:06")
            if suffix not in (".bmp", ".tif", ".tiff"):
                camera = found.get_ifd(0x8769)
                assert camera[0x9003] == "2020:02:03 04:05:06" and camera[0x8827] == 200 and 0xA431 not in camera
                assert bool(found.get_ifd(0x8825)) == kept
        np.testing.assert_array_equal(read_image(path), pixels)


def test_damaged_exif_is_left_out(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xffnonsense")
    tags = images.read_picture(tmp_path / "a.jpg").tags
    write_image(tmp_path / "b.jpg", read_image(tmp_path / "a.jpg"), tags)
    assert tags.location == {} and read_image(tmp_path / "b.jpg").shape == (20, 20, 3)


# What is in a folder --------------------------------------------------------------------------------------------------

SUFFIXES = {
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".gif": "GIF",
    ".jp2": "JPEG2000",
    ".ppm": "PPM",
    ".photo": "PNG",
    "": "WEBP",
}
SUFFIXES.update({".avif": "AVIF"} if features.check("avif") else {})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_picture_is_what_pillow_reads_whatever_its_suffix(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.new("RGB", (30, 20), "red").save(path, SUFFIXES[suffix])
    (tmp_path / "notes.txt").write_text("P3 is a colour space")
    (tmp_path / "empty").write_text("")
    assert find_images([tmp_path]) == [path]
    assert np.abs(read_image(path).astype(int) - (255, 0, 0)).max() < 6


def test_the_first_frame_of_a_gif(tmp_path):
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.warns(InputNote, match="a.gif: it moves: its first frame is taken"):
        assert (read_image(tmp_path / "a.gif")[:, :, :3] == (255, 0, 0)).all()


def test_two_links_to_a_file_are_two_pictures(picture, tmp_path, monkeypatch):
    picture("c.png")
    (tmp_path / "links").mkdir()
    for name in ("a.png", "b.png"):
        os.symlink(tmp_path / "c.png", tmp_path / "links" / name)
    assert [path.name for path in find_images([tmp_path / "links", tmp_path / "links" / "*"])] == ["a.png", "b.png"]


HEIC = b"\0\0\0\x18ftypheic" + b"\0" * 60


def test_heic_names_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(HEIC)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(InputError, match=r"a\.heic is HEIC, which needs pillow-heif: pip install 'ppadaattn\[heic\]'"):
        read_image(tmp_path / "a.heic")
    monkeypatch.undo()
    assert find_images([tmp_path]) == [tmp_path / "a.heic"]  # and is said, not left out


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    image = pillow_heif.from_pillow(Image.new("RGB", (64, 48), (200, 30, 30)))
    image.save(tmp_path / "a.heic", quality=95)
    found = read_image(tmp_path / "a.heic")
    assert found.shape == (48, 64, 3) and np.abs(found.astype(int) - (200, 30, 30)).max() < 8


def test_avif_names_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.avif").write_bytes(HEIC.replace(b"heic", b"avif"))
    Image.init()
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    with pytest.raises(InputError, match=r"a\.avif is AVIF, which needs Pillow 11\.3"):
        read_image(tmp_path / "a.avif")


def test_a_damaged_tag_of_a_file_of_another_name_is_no_warning(tmp_path):
    """A folder's files are looked at: a TIFF whose last tag is cut off among them warns in Pillow."""
    path = tmp_path / "notes.txt"
    Image.new("RGB", (20, 20)).save(path, "TIFF")
    data = bytearray(path.read_bytes())
    directory = int.from_bytes(data[4:8], "little")
    data[directory : directory + 2] = (500).to_bytes(2, "little")  # more tags than there are bytes
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="Corrupt EXIF data"), Image.open(path):
        pass
    assert images.is_picture(path)
