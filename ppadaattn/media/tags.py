"""What the file of a picture or clip says besides its pixels: colour profile, EXIF, dots per inch, title and date."""

import contextlib
import functools
import io
from typing import NamedTuple, Optional

import numpy as np
from PIL import Image, ImageCms

# EXIF that a result keeps (EXIF 2.3, table 4 and following): what the picture is, whose, when and with what it was
# taken. Serial numbers, thumbnails and makers' notes say more than a user may know, and the size is another one.
EXIF_TAGS = (
    0x010E,  # ImageDescription
    0x010F,  # Make
    0x0110,  # Model
    0x0131,  # Software
    0x0132,  # DateTime
    0x013B,  # Artist
    0x8298,  # Copyright
)
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
CAMERA_TAGS = (
    *(0x829A, 0x829D, 0x8827, 0x920A, 0xA405),  # ExposureTime, FNumber, ISO, FocalLength, FocalLengthIn35mmFilm
    *(0x9003, 0x9004, 0x9010, 0x9011, 0x9012),  # times of the original and of digitizing, their offsets from UTC
    *(0x9290, 0x9291, 0x9292),  # fractions of their seconds
    *(0xA433, 0xA434),  # LensMake, LensModel
)

# Entries of a clip's file that a painted one keeps, by FFmpeg's names, for the same reasons.
CLIP_TAGS = (
    *("title", "artist", "album", "comment", "description", "date", "creation_time", "copyright"),
    *("make", "model"),  # of the camera
)
# How phones and QuickTime name some of them.
APPLE = "com.apple.quicktime."
OTHER_NAMES = {
    **{f"{APPLE}{tag}": tag for tag in CLIP_TAGS},
    "author": "artist",
    f"{APPLE}author": "artist",
    f"{APPLE}creationdate": "date",
}
LOCATION_TAGS = ("location", "location-eng", f"{APPLE}location.iso6709")

# LittleCMS's flag: scale lightness so that black stays black, as other programs do with relative colorimetric intent.
BLACK_POINT_COMPENSATION = 0x2000
# Profiles that change no colour by more than this are sRGB with rounded numbers, of which there are many.
SAME_COLOURS = 2


class Tags(NamedTuple):
    """What a result keeps of the file of its content.

    Attributes:
        exif: {number: value} of EXIF_TAGS.
        camera: the same of CAMERA_TAGS.
        location: the same of all tags of the position (GPS).
        dpi: (horizontal, vertical) dots per inch, or None.
    """

    exif: dict
    camera: dict
    location: dict
    dpi: Optional[tuple]

    def without_location(self) -> "Tags":
        return self._replace(location={})

    def save_options(self, kind: str) -> dict:
        """Arguments of Pillow's `save` in a format; a compressed TIFF of Pillow holds `exif` and `dpi` alone."""
        exif, ifds = Image.Exif(), {EXIF_IFD: self.camera, GPS_IFD: self.location} if kind != "TIFF" else {}
        for number, value in {**self.exif, **{number: ifd for number, ifd in ifds.items() if ifd}}.items():
            exif[number] = value
        options = {"exif": exif.tobytes()} if len(exif) else {}
        return {**options, **({"dpi": self.dpi} if self.dpi else {})}


def read_tags(image: Image.Image) -> Tags:
    """The Tags of an image; what is damaged is left out."""
    exif = camera = location = {}
    with contextlib.suppress(Exception):  # readers of damaged EXIF raise nearly anything
        found = image.getexif()
        exif = {number: found[number] for number in EXIF_TAGS if number in found}
        ifd = found.get_ifd(EXIF_IFD)
        camera = {number: ifd[number] for number in CAMERA_TAGS if number in ifd}
        location = dict(found.get_ifd(GPS_IFD))
    tags = Tags(exif, camera, location, _dpi(image))
    try:
        tags.save_options("JPEG")
    except Exception:  # values that cannot be written again
        return Tags({}, {}, {}, tags.dpi)
    return tags


def clip_tags(found: dict) -> tuple:
    """What a painted clip keeps of a file's entries: ({name: text} of CLIP_TAGS, {"location": text} or {})."""
    entries = {key.lower(): text for key, text in found.items() if text}  # Matroska has capitals
    tags = {tag: entries[name] for name, tag in OTHER_NAMES.items() if name in entries}
    tags.update({tag: entries[tag] for tag in CLIP_TAGS if tag in entries})
    place = next((entries[name] for name in LOCATION_TAGS if name in entries), None)
    return tags, ({"location": place} if place else {})


def _dpi(image):
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
        dpi = tuple(map(float, image.info.get("dpi", ())))
        if len(dpi) == 2 and all(1 <= value < 2**15 for value in dpi):
            return dpi
    return None


def to_srgb(image: Image.Image, profile: bytes):
    """Convert the colours of an image to sRGB.

    Args:
        image: of any mode with 8 bits a channel.
        profile: the ICC profile that says what its colours are.

    Returns:
        (image in RGB, what is wrong with the profile or None); with a wrong one colours are taken as they are.
    """
    plain = image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}.get(space)
        if mode is None or mode != _mode(image):
            return plain, f"its colour profile is for {space}, which it is not: the profile is ignored"
        transform = _transform(source, mode)
        if mode == "RGB" and _is_identity(transform):
            return plain, None
        return ImageCms.applyTransform(plain if mode == "RGB" else image.convert(mode), transform), None
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError):
        return plain, "its colour profile cannot be read: it is ignored"


def _mode(image):
    """The mode of an image's colours: L, RGB or CMYK."""
    if image.mode == "CMYK":
        return "CMYK"
    return "L" if image.mode in ("1", "L", "LA", "La") else "RGB"


def _transform(source, mode):
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    target = ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(source, target, mode, "RGB", intent, BLACK_POINT_COMPENSATION)


def _is_identity(transform):
    """Whether a transform of RGB leaves colours all over the cube as they are."""
    steps = np.linspace(0, 255, 6).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 6, 3)
    converted = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), transform))
    return np.abs(converted.astype(int) - colours).max() <= SAME_COLOURS


@functools.lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """An ICC profile of sRGB. LittleCMS writes the time into it: here it is 1 January 2000, so that files are equal."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes((7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0))  # year, month, day, hour, minute, second
    return bytes(profile)
