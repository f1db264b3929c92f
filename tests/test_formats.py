"""The tables of pictures in docs/formats.md, row by row: each row makes its own files, and one without a test fails."""

import contextlib
import re

from ppadaattn.errors import InputError, InputNote
from ppadaattn.media.images import FORMATS, READ_FORMATS, read_image, read_picture, write_image
from ppadaattn.media.tags import srgb_profile

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, JpegImagePlugin
from test_images import COLOURS, ORIENTATIONS, gamma_tag, icc_profile, in_space, stripes, wide_profile

SIZE = (48, 32)
RED, BLUE = (250, 20, 20), (20, 20, 230)
DATE, MAKER, SHUTTER, NORTH = (0x0132, "2020:02:03 04:05:06"), (0x010F, "Maker"), (0x829A, 0.5), (1, "N")
EXIF_IFD, GPS_IFD = 0x8769, 0x8825


def table(first, second):
    """{name: cells} of the table whose header begins with two words."""
    lines = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} | {second} |"))
    rows = {}
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            return rows
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name] = cells
    return rows


PICTURES, ASPECTS = table("format", "read"), table("what", "read")


def save(path, kind, mode="RGB", count=1, **options):
    """Write a red picture in one of Pillow's formats, with `count` frames, of which the others are blue."""
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    frames = [Image.new(mode, SIZE, (*colour, 0)[: len(mode)]) for colour in (RED, *[BLUE] * (count - 1))]
    if count > 1:
        options.update(save_all=True, append_images=frames[1:])
    frames[0].save(path, format=kind, **options)
    return path


@pytest.mark.parametrize("name", sorted({*READ_FORMATS, *PICTURES}))
def test_what_the_table_says_is_read(tmp_path, name):
    assert {*READ_FORMATS} == {*PICTURES}
    read, _, alpha, _ = PICTURES[name]
    path, several = tmp_path / "a.dat", read.startswith("first")
    save(path, name, count=2 if several else 1)
    moves = several and "frame" in read
    with pytest.warns(InputNote, match="it moves: its first frame is taken") if moves else contextlib.nullcontext():
        assert np.abs(read_image(path)[..., :3].astype(int) - RED).max() < 12
    if alpha in ("yes", "read"):
        assert (read_image(save(path, name, "RGBA"))[..., 3] == 0).all()
    else:
        assert alpha in ("no", "no: laid on white") and read_image(save(path, name)).shape == (*SIZE[::-1], 3)


@pytest.mark.parametrize("name", PICTURES)
def test_what_the_table_says_is_written(tmp_path, name):
    _, written, alpha, metadata = PICTURES[name]
    suffixes = re.findall(r"`(\.\w+)`", written)
    assert suffixes == [suffix for suffix, (kind, _) in FORMATS.items() if kind == name]
    assert bool(suffixes) == (written not in ("no", "as video"))
    exif = Image.Exif()
    exif[DATE[0]], exif[EXIF_IFD], exif[GPS_IFD] = DATE[1], dict([SHUTTER]), dict([NORTH])
    tags = read_picture(save(tmp_path / "in.jpg", "JPEG", exif=exif, dpi=(300, 300))).tags
    picture = np.dstack([np.full((*SIZE[::-1], 3), 90, "uint8"), np.full(SIZE[::-1], 0, "uint8")])
    for suffix in suffixes:
        path = tmp_path / f"out{suffix}"
        write_image(path, picture, tags)
        found = read_image(path)
        assert (found[..., 3] == 0).all() if alpha == "yes" else (found == 255).all() and found.shape[2] == 3
        with Image.open(path) as image:
            assert image.format == name
            quality = re.search(r"quality (\d+)", written)
            assert not quality or FORMATS[suffix][1]["quality"] == int(quality[1])
            assert "full chroma" not in written or JpegImagePlugin.get_sampling(image) == 0
            assert "deflate" not in written or "deflate" in image.info["compression"]
            kept = image.getexif()
            assert (kept.get(DATE[0]) == DATE[1]) == ("EXIF" in metadata)
            details = "EXIF" in metadata and "without camera settings and position" not in metadata
            assert bool(kept.get_ifd(EXIF_IFD)) == bool(kept.get_ifd(GPS_IFD)) == details
            dots = np.abs(np.array(image.info.get("dpi", (0, 0)), float) - 300).max() < 1
            assert dots == ("dots per inch" in metadata)


def colour(folder):
    stored, profile = stripes(in_space("Display P3", COLOURS)), wide_profile("Display P3")
    Image.fromarray(stored).save(folder / "p3.png", icc_profile=profile)
    assert np.abs(read_image(folder / "p3.png").astype(int) - stripes(COLOURS)).max() <= 8
    linear = icc_profile(b"GRAY", {b"kTRC": gamma_tag(1.0)})
    Image.new("L", SIZE, 128).save(folder / "grey.png", icc_profile=linear)
    assert np.abs(read_image(folder / "grey.png").astype(int) - 188).max() <= 1
    Image.fromarray(stored).save(folder / "bad.png", icc_profile=b"nonsense")
    with pytest.warns(InputNote, match="it is ignored"):
        np.testing.assert_array_equal(read_image(folder / "bad.png"), stored)
    for suffix in FORMATS:
        write_image(folder / f"out{suffix}", stored)
        with Image.open(folder / f"out{suffix}") as image:
            said = {".png": "srgb", ".bmp": None}.get(suffix, "icc_profile")
            assert said is None or image.info[said] in (0, srgb_profile())


def depth(folder):
    deep = (257 * np.arange(256, dtype="uint16") + 128).clip(0, 65535)[None].repeat(16, 0)
    Image.fromarray(deep).save(folder / "deep.png")
    np.testing.assert_array_equal(read_image(folder / "deep.png")[..., 0], deep >> 8)
    for kind in ("int32", "float32"):
        Image.fromarray(deep.astype(kind)).save(folder / f"{kind}.tif")
        with pytest.raises(InputError, match="save it with 8 or 16 bits"):
            read_image(folder / f"{kind}.tif")
    write_image(folder / "out.png", read_image(folder / "deep.png"))
    assert (folder / "out.png").read_bytes()[24] == 8


def orientation(folder):
    array = np.random.RandomState(0).randint(0, 255, (20, 30, 3)).astype("uint8")
    for number, turned in ORIENTATIONS.items():
        exif = Image.Exif()
        exif[0x0112] = number
        Image.fromarray(array).save(folder / "a.png", exif=exif)
        picture = read_picture(folder / "a.png")
        np.testing.assert_array_equal(picture.pixels, turned(array))
        write_image(folder / "out.jpg", picture.pixels, picture.tags)
        with Image.open(folder / "out.jpg") as image:
            assert image.getexif().get(0x0112, 1) == 1


# Of the row of EXIF: what is kept, and what is dropped, each with a number of EXIF 2.3.
KEPT = {0x0132: DATE[1], 0x010F: "Maker", 0x0110: "Model", 0x013B: "Someone", 0x8298: "(c)", 0x010E: "Sea"}
KEPT_OF_CAMERA = {0x9003: DATE[1], 0xA434: "Lens", 0x829A: 0.5}
DROPPED = {0xA431: "serial", 0x927C: b"maker's notes", 0xA435: "serial of the lens"}


def exif(folder):
    tags = Image.Exif()
    tags.update(KEPT)
    tags[EXIF_IFD] = {**KEPT_OF_CAMERA, **DROPPED}
    picture = read_picture(save(folder / "in.jpg", "JPEG", exif=tags))
    for suffix in (".jpg", ".png", ".webp"):
        write_image(folder / f"out{suffix}", picture.pixels, picture.tags)
        with Image.open(folder / f"out{suffix}") as image:
            found = image.getexif()
            assert {key: found[key] for key in KEPT} == KEPT and found.get_ifd(EXIF_IFD) == KEPT_OF_CAMERA


def position(folder):
    tags = Image.Exif()
    tags[GPS_IFD] = {1: "N", 2: (48.0, 8.0, 15.0)}
    pixels, _, kept = read_picture(save(folder / "in.jpg", "JPEG", exif=tags))
    for suffix in (".jpg", ".png", ".webp", ".tif", ".bmp"):
        for chosen in (kept, kept.without_location()):
            write_image(folder / f"out{suffix}", pixels, chosen)
            with Image.open(folder / f"out{suffix}") as image:
                holds = suffix in (".jpg", ".png", ".webp") and chosen is kept
                assert bool(image.getexif().get_ifd(GPS_IFD)) == holds


TESTS = {"colour": colour, "depth": depth, "orientation": orientation, "EXIF": exif, "position (GPS)": position}


@pytest.mark.parametrize("aspect", sorted({*TESTS, *ASPECTS}))
def test_what_the_table_says_of_colours_and_tags(tmp_path, aspect):
    assert aspect in ASPECTS
    TESTS[aspect](tmp_path)
