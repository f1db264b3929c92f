"""Pictures in files: found, read, resized, written, put on a contact sheet.

A picture is a uint8 array H x W x 3 (RGB) or H x W x 4 (RGBA), values 0 to 255.
"""

import contextlib
import glob
import io
import os
import warnings
from pathlib import Path
from typing import Callable, Iterable, List, NamedTuple, Optional, Tuple

from ppadaattn.errors import InputError, note, without_warnings
from ppadaattn.files import atomic_write
from ppadaattn.media import PathLike
from ppadaattn.media.decoding import check_cost, quiet_libtiff
from ppadaattn.media.tags import Tags, read_tags, srgb_profile, to_srgb

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

# Suffixes of the formats that are written, with Pillow's arguments for writing each. Quality 95 is the highest
# that Pillow recommends; full chroma, because brush strokes are coloured edges.
FORMATS = {
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"quality": 95, "method": 6}),
    ".tif": ("TIFF", {"compression": "tiff_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_deflate"}),
    ".bmp": ("BMP", {}),
}
# Formats whose further frames are moments; those of others, as the pages of a TIFF, are other pictures.
MOVE = ("AVIF", "GIF", "PNG", "WEBP")
WITHOUT_ALPHA = ("JPEG", "BMP")
quiet_libtiff()

# Formats that are read, by Pillow's names, whatever the suffix of the file. Pillow opens more, of which some run other
# programs (EPS) and others are seldom pictures to paint.
READ_FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# Suffixes of files that are meant as pictures. In a folder, those that cannot be read are reported; a file with another
# suffix is one of the folder's pictures if it begins as one.
PICTURES = (
    *FORMATS,
    *(".jpe", ".jfif", ".jp2", ".j2k", ".gif", ".avif", ".heic", ".heif", ".hif", ".ppm", ".pgm", ".pnm"),
    *(".psd", ".svg", ".eps", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
)
# Kinds of ISO media files that are pictures, from bytes 8 to 12, and what reads them.
BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}

# Shortest side in pixels: the encoder halves a picture four times.
MIN_SIDE = 16


class Picture(NamedTuple):
    """A picture that was read: uint8 H x W x 3 or x 4, its (height, width) in the file, what its file says of it."""

    pixels: np.ndarray
    own_size: Tuple[int, int]
    tags: Tags


def find_images(patterns: Iterable) -> List[Path]:
    """List the picture files that files, folders and globs name; as `find_files`."""
    return find_files(patterns, is_listed, "pictures", READ_FORMATS)


def find_files(patterns: Iterable, listed: Callable[[Path], bool], kind: str, expected: Iterable[str]) -> List[Path]:
    """List the files of a kind that files, folders (not the folders in them) and globs name.

    Args:
        patterns: list of str or Path.
        listed: whether a file of a folder or glob is one of them.
        kind, expected: their name and formats, for messages.

    Returns:
        list of Path in the order given, each folder and glob sorted by name, no path twice. Two links to one file are
        two paths.

    Raises:
        InputError: a file that is not there, a folder or glob without such files.
    """
    found = {}  # absolute path -> path as given: none twice
    for pattern in map(str, patterns):
        if not pattern:
            raise InputError("a file name is empty; give files, folders or globs")
        nothing = f"no {kind} match {pattern}"
        if os.path.isdir(pattern):
            if not os.access(pattern, os.R_OK | os.X_OK):
                raise InputError(f"the folder {pattern} cannot be read: permission denied")
            nothing = f"the folder {pattern} holds no {kind}"
            matches = _matching(os.path.join(glob.escape(pattern), "*"), listed)
        elif os.path.exists(pattern):
            matches = [Path(pattern)]
        elif glob.has_magic(pattern):
            # Brackets in the name of a folder that is there are no glob.
            folder = next((parent for parent in Path(pattern).parents if os.path.isdir(parent)), Path())
            matches = _matching(os.path.join(glob.escape(str(folder)), Path(pattern).relative_to(folder)), listed)
        else:
            raise InputError(f"there is no file or folder {pattern}")
        if not matches:
            raise InputError(f"{nothing} that can be read ({', '.join(expected)})")
        for path in matches:
            found.setdefault(os.path.abspath(path), path)
    return list(found.values())


def _matching(pattern, listed):
    """The files that match a glob and are listed, sorted by name; hidden ones, as macOS's ._photo.jpg, are not."""
    paths = sorted(map(Path, glob.glob(pattern, recursive=True)))
    return [path for path in paths if os.path.isfile(path) and not is_hidden(path) and listed(path)]


def is_hidden(path: Path) -> bool:
    """Whether the name of a file begins with a dot."""
    return path.name.startswith(".")


def is_listed(path: Path) -> bool:
    """Whether a file of a folder is one of its pictures, by its suffix or by its first bytes; hidden files are not."""
    return not is_hidden(path) and (path.suffix.lower() in PICTURES or is_picture(path))


def is_picture(path: PathLike) -> bool:
    """Whether a file begins as one of the formats that are read. Pillow's check of headers alone takes text for PPM."""
    try:
        if _brand(path):
            return True
        with without_warnings(), Image.open(path, formats=readers()) as image:  # of odd metadata
            return image.format != "PPM"
    except Exception:  # of any kind: it is no picture
        return False


def readers():
    """READ_FORMATS that this Pillow has; HEIF only after `_register_heif`."""
    Image.init()
    return [kind for kind in READ_FORMATS if kind in Image.OPEN]


def _brand(file):
    """'HEIC' or 'AVIF' for the path of such a file, or for such a file, open; None for others."""
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as opened:
            return _brand(opened)
    place = file.tell()
    head = file.read(12)
    file.seek(place)
    return BRANDS.get(head[8:]) if head[4:8] == b"ftyp" else None


def _register_heif():
    """Let Pillow read HEIC through pillow-heif. Returns whether that is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def read_image(source, long_side: int = 0) -> np.ndarray:
    """Read a picture as a viewer shows it: EXIF orientation applied, colours converted to sRGB, 16 bits as 8.

    Grey pictures and palettes become RGB. A colour profile that is damaged or is for other colours than the file's is
    ignored, with a note. So are the further frames of a picture that moves.

    Args:
        source: path of a file in one of READ_FORMATS, of which the first page or frame is read; HEIC needs pillow-heif,
            AVIF Pillow 11.3. Or such a file, open, whose `str` is for messages; or its bytes; or a PIL image.
        long_side: reduce the picture to this long side, in pixels; 0 leaves it as it is. Nothing is enlarged.

    Returns:
        uint8 H x W x 3, or H x W x 4 where the file has an alpha channel.

    Raises:
        InputError: missing, damaged, not a picture, smaller than 16 pixels, larger than Pillow's limit against
            decompression bombs (PIL.Image.MAX_IMAGE_PIXELS, which the caller may raise), or made so that decoding would
            take very long (`media.decoding`).
    """
    return read_picture(source, long_side).pixels


def read_reduced(source, long_side: int = 0, name=None) -> Tuple[np.ndarray, Tuple[int, int]]:
    """As `read_image`, with the size that the picture had: (picture, (height, width)). `name` is for messages."""
    return read_picture(source, long_side, name)[:2]


def read_picture(source, long_side: int = 0, name=None) -> Picture:
    """As `read_image`, with the size that the picture had and its tags. `name` is for messages."""
    if not isinstance(long_side, (int, np.integer)) or long_side < 0:
        raise InputError(f"a size is a number of pixels, or 0 to leave pictures as they are; got {long_side!r}")
    name = name or ("the picture" if isinstance(source, bytes) else source)
    image, tags, problem = _decode(source, name)
    if problem:
        note(f"{name}: {problem}")
    check_size(image.size, name)
    reduced = _reduce(image, long_side)
    check_size(reduced.size, f"{name}, reduced to a long side of {long_side},")
    return Picture(np.asarray(reduced), image.size[::-1], tags)


def image_size(path) -> Tuple[int, int]:
    """(height, width) of a picture as a viewer shows it; InputError as in `read_image`."""
    return read_reduced(path)[1]


def _decode(source, name):
    """(image in RGB or RGBA and sRGB, its Tags, what to note or None)."""
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with decoding(name):
        if isinstance(source, Image.Image):
            return as_shown(source, name)
        brand = _brand(file)
        if brand == "HEIC" and "HEIF" not in Image.OPEN and not _register_heif():
            raise InputError(f"{name} is HEIC, which needs pillow-heif: pip install 'ppadaattn[heic]'")
        try:
            opened = Image.open(file, formats=readers())
        except Image.UnidentifiedImageError:
            if brand == "AVIF" and "AVIF" not in Image.OPEN:
                raise InputError(f"{name} is AVIF, which needs Pillow 11.3: pip install 'pillow>=11.3'") from None
            raise
        with opened as image:
            check_cost(image, name)
            moves = image.format in MOVE and getattr(image, "is_animated", False)
            shown, tags, problem = as_shown(image, name)
            moves = "it moves: its first frame is taken" if moves else None
            return shown, tags, "; ".join(filter(None, (problem, moves))) or None


@contextlib.contextmanager
def decoding(name):
    """Turn whatever Pillow raises in the block, which decodes the picture `name`, into an InputError."""
    try:
        with without_warnings():  # of odd metadata; real damage raises
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except FileNotFoundError:
        raise InputError(f"there is no file {name}") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(
            f"{name} has more pixels than the {Image.MAX_IMAGE_PIXELS} that are read; make it smaller first"
        ) from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{name} is not a picture that can be read; expected {', '.join(READ_FORMATS)}") from None
    except InputError:
        raise
    except (PermissionError, IsADirectoryError) as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise InputError(f"{name} cannot be read, it may be damaged or cut short: {error}") from None


def as_shown(image, name):
    """What a viewer shows of an image that Pillow opened.

    Returns:
        (image in RGB or RGBA and sRGB, its Tags, what is wrong with its colour profile or None).
    """
    tags, profile = read_tags(image), image.info.get("icc_profile")
    turned = _to_8_bits(ImageOps.exif_transpose(image), name, image.format)
    has_alpha = turned.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in turned.info
    if not profile:
        return turned.convert("RGBA" if has_alpha else "RGB"), tags, None
    alpha = turned.convert("RGBA").getchannel("A") if has_alpha else None
    shown, problem = to_srgb(turned, profile)
    if alpha is not None:
        shown.putalpha(alpha)
    return shown, tags, problem


def _to_8_bits(image, path, kind):
    if image.mode == "I" and kind != "PNG":  # older Pillow's mode of 16-bit PNG; 32-bit TIFF has no fixed white
        raise InputError(f"{path} holds 32-bit numbers, whose white is not known; save it with 8 or 16 bits")
    if image.mode == "F":
        raise InputError(f"{path} holds floating-point numbers, whose white is not known; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16 bits a pixel, grey: the high byte, as Pillow itself does for 16-bit colour
        return Image.fromarray((np.asarray(image).astype(np.uint32).clip(0, 65535) >> 8).astype(np.uint8))
    return image


def _reduce(image, long_side):
    return _resize(image, long_side) if long_side < max(image.size) else image


def _resize(image, long_side):
    if long_side == 0:
        return image
    scale = long_side / max(image.size)
    return image.resize([max(1, round(side * scale)) for side in image.size], Image.LANCZOS)


def scale_to(image: np.ndarray, long_side: int) -> np.ndarray:
    """Resize a picture, uint8 H x W x 3, to a long side in pixels (Lanczos); 0 leaves it as it is."""
    return np.asarray(_resize(Image.fromarray(image), long_side))


def reduce_to(image: np.ndarray, long_side: int) -> np.ndarray:
    """As `scale_to`, but never enlarge."""
    return np.asarray(_reduce(Image.fromarray(image), long_side))


def check_size(size: Tuple[int, int], name) -> None:
    """Raise InputError, with `name`, unless both sides of `size`, (width, height), are at least 16 pixels."""
    if min(size) < MIN_SIDE:
        raise InputError(f"{name} is {size[0]} x {size[1]} pixels; each side must be at least {MIN_SIDE}")


def flatten(image: np.ndarray) -> np.ndarray:
    """Lay a picture on white: uint8 H x W x 3 of RGBA; RGB is returned as it is."""
    if image.shape[2] == 3:
        return image
    alpha = image[:, :, 3:].astype(np.uint16)
    return ((image[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def check_suffix(path) -> None:
    """Raise InputError unless the suffix of `path` names a format that can be written."""
    if Path(path).suffix.lower() not in FORMATS:
        raise InputError(f"{path}: pictures are written as {', '.join(FORMATS)}; give the output such a name")


def write_image(path, image: np.ndarray, tags: Optional[Tags] = None) -> None:
    """Write a picture, uint8 H x W x 3 or 4, in the format of the suffix; one without alpha gets it laid on white.

    The file is whole or not there, and says that its colours are sRGB. `tags` are those of the picture that it was made
    of. Raises InputError when it cannot be written.
    """
    check_suffix(path)
    with atomic_write(path) as temporary:
        try:
            save_image(temporary, image, Path(path).suffix.lower(), tags)
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} cannot be written: {error}; choose another format, such as .png") from None


def save_image(file, image: np.ndarray, suffix: str, tags: Optional[Tags] = None) -> None:
    """As `write_image`, into an open file, or without care for one that is there; `suffix` is one of FORMATS."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4):
        raise InputError(f"a picture must be uint8 H x W x 3 or 4 to be written; got {image.dtype} {image.shape}")
    kind, options = FORMATS[suffix]
    options = {**options, **(tags.save_options(kind) if tags else {})}
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add(b"sRGB", b"\0")  # perceptual intent, that of pictures
    else:
        options["icc_profile"] = srgb_profile()
    Image.fromarray(flatten(image) if kind in WITHOUT_ALPHA else image).save(file, format=kind, **options)


def contact_sheet(contents, styles, results, cell=256, gap=8):
    """Put all pairs on one sheet: contents down, styles across, each reduced to fit a square cell.

    Args:
        contents: list of pictures, one a row.
        styles: list of pictures, one a column.
        results: {(row, column): picture}; a missing pair stays white.
        cell: side of a cell in pixels.
        gap: pixels between cells.

    Returns:
        uint8 H x W x 3; each row is as high as its highest picture, each column as wide as its widest.
    """
    cells = {(row + 1, 0): picture for row, picture in enumerate(contents)}
    cells.update({(0, column + 1): picture for column, picture in enumerate(styles)})
    cells.update({(row + 1, column + 1): picture for (row, column), picture in results.items()})
    return sheet(cells, cell, gap)


def sheet(cells, cell=256, gap=8):
    """Put pictures in rows and columns on white, each reduced to fit a square cell.

    Args:
        cells: {(row, column): picture}; missing cells stay white.
        cell, gap: as in `contact_sheet`.

    Returns:
        as `contact_sheet`.
    """
    cells = {place: thumbnail(picture, cell) for place, picture in cells.items()}
    rows, columns = (1 + max(places) for places in zip(*cells))
    heights, widths = [0] * rows, [0] * columns
    for (row, column), tile in cells.items():
        heights[row], widths[column] = max(heights[row], tile.shape[0]), max(widths[column], tile.shape[1])
    paper = Image.new("RGB", (sum(widths) + gap * (columns + 1), sum(heights) + gap * (rows + 1)), "white")
    for (row, column), tile in cells.items():
        top = sum(heights[:row]) + gap * (row + 1) + (heights[row] - tile.shape[0]) // 2
        left = sum(widths[:column]) + gap * (column + 1) + (widths[column] - tile.shape[1]) // 2
        paper.paste(Image.fromarray(tile), (left, top))
    return np.asarray(paper)


def keep_colors(picture: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Give a picture the colours of its content (Gatys et al., Preserving Color, 2016, section 3).

    Args:
        picture, content: uint8 H x W x 3 of one size.

    Returns:
        uint8 H x W x 3: Y of the picture, Cb and Cr of the content (ITU-R BT.601, full range, as in JPEG).
    """
    luminance = Image.fromarray(picture).convert("YCbCr").getchannel(0)
    _, blue, red = Image.fromarray(content).convert("YCbCr").split()
    return np.asarray(Image.merge("YCbCr", (luminance, blue, red)).convert("RGB"))


def thumbnail(image: np.ndarray, long_side: int) -> np.ndarray:
    """A picture laid on white, uint8 H x W x 3, reduced to a long side in pixels; never enlarged."""
    return np.asarray(_reduce(Image.fromarray(flatten(image)), long_side))


def to_floats(images: np.ndarray) -> np.ndarray:
    """Pictures, uint8 [B, H, W, 3], as a network takes them: float32 [B, 3, H, W] in [0, 1]."""
    return to_unit_range(np.asarray(images).transpose(0, 3, 1, 2))


def to_bytes(array: np.ndarray) -> np.ndarray:
    """Pictures, uint8 [B, H, W, 3], of what a network gives: float [B, 3, H, W], clipped to [0, 1]."""
    return to_byte_range(array.transpose(0, 2, 3, 1))


def to_unit_range(image: np.ndarray) -> np.ndarray:
    """uint8 of any shape as float32 in [0, 1]."""
    return np.ascontiguousarray(image, dtype=np.float32) / 255


def to_byte_range(array: np.ndarray) -> np.ndarray:
    """Floats of any shape, clipped to [0, 1], as uint8, rounded."""
    return np.ascontiguousarray((np.clip(array, 0, 1) * 255).round().astype(np.uint8))
