"""Requests and answers of PaddleHub: lists of items to paint; for `hub serving` with pictures as base64 in JSON."""

import base64
import binascii
import io
import json
from typing import Any, Callable, Dict, Iterator, List, Tuple

from ppadaattn.errors import InputError
from ppadaattn.media.images import save_image
from ppadaattn.model.style import Style, check_strength
from ppadaattn.serve.sources import BytesSource

import numpy as np

ITEM = "a dict with 'content', a list 'styles' and, where they are mixed, 'weights'"
KEYS = ("images", "alpha")  # of a request
LONGEST_NUMBER = 100  # digits of a whole number; before Python 3.11 those of a million take a minute to read


def check_items(given: Any, where: str, make_source: Callable) -> List[Dict]:
    """Check a list of items and make sources of their pictures.

    Args:
        given: list of {'content': picture, 'styles': [picture, ...], 'weights': [number, ...]}.
        where: name of the list, for messages.
        make_source: function of (picture, name) that returns a source (`ppadaattn.serve.sources`).

    Returns:
        list of {'name': text, 'content': source, 'styles': [source, ...], 'weights': as given or None}.

    Raises:
        InputError: which part of which item is wrong.
    """
    if not isinstance(given, (list, tuple)):
        raise InputError(f"{where} must be a list, each of its items {ITEM}; got {type(given).__name__}")
    items = []
    for number, item in enumerate(given):
        name = f"{where}[{number}]"
        if not isinstance(item, dict) or not {"content", "styles"} <= item.keys() <= {"content", "styles", "weights"}:
            got = f"the keys {', '.join(map(str, item)) or '(none)'}" if isinstance(item, dict) else type(item).__name__
            raise InputError(f"{name} must be {ITEM}; got {got}")
        styles = item["styles"]
        if not isinstance(styles, (list, tuple)) or not styles:
            got = repr(styles) if isinstance(styles, (list, tuple)) else type(styles).__name__
            raise InputError(f"{name}['styles'] must be a list of at least one style; got {got}")
        items.append(
            {
                "name": name,
                "content": make_source(item["content"], f"{name}['content']"),
                "styles": [make_source(style, f"{name}['styles'][{index}]") for index, style in enumerate(styles)],
                "weights": item.get("weights"),
            }
        )
    return items


def transfer(stylizer, items: List[Dict], alpha: float = 1, size: int = 0) -> Iterator[np.ndarray]:
    """Paint items one after the other; a style that several of them share is prepared once.

    Args:
        stylizer: a Stylizer.
        items: as `check_items` or `decode` returns them.
        alpha: the strength.
        size: long side in pixels to which contents are reduced; 0 leaves them as they are.

    Yields:
        uint8 RGB H x W x 3.

    Raises:
        InputError: as in `Module.style_transfer`.
    """
    check_strength(alpha)
    prepared = {}  # source -> Style
    for item in items:
        content = item["content"].picture(size)
        for source in item["styles"]:
            if source not in prepared:
                prepared[source] = source.style(stylizer)
        yield stylizer(content, _mix([prepared[source] for source in item["styles"]], item), strength=alpha)


def _mix(styles, item):
    weights = item["weights"]
    if weights is None and len(styles) == 1:
        return styles[0]
    try:
        return Style.mix(styles, weights)
    except (OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{item['name']}['weights']: {error}") from None


def parse(body: bytes, max_pictures: int) -> Tuple[Any, Any]:
    """Read a request in JSON: ('images', 'alpha'), neither of them checked but for the number of pictures.

    Raises:
        InputError: no JSON, other keys, more than `max_pictures` contents and styles.
    """
    try:
        given = json.loads(body.decode("utf-8"), parse_int=_whole_number)
    except InputError:
        raise
    except (RecursionError, ValueError) as error:
        raise InputError(f"the request is not JSON in UTF-8: {error}") from None
    if not isinstance(given, dict) or "images" not in given:
        raise InputError('the request must be {"images": [...], "alpha": 0..1}')
    unknown = [key for key in given if key not in KEYS]
    if unknown:
        raise InputError(f"the request has a key {unknown[0]!r}; known ones are {', '.join(KEYS)}")
    images = given["images"]
    if isinstance(images, list):
        styles = [item["styles"] for item in images if isinstance(item, dict) and "styles" in item]
        count = len(images) + sum(len(some) for some in styles if isinstance(some, list))
        if count > max_pictures:
            raise InputError(f"a request may have {max_pictures} pictures, contents and styles; this one has {count}")
    return images, given.get("alpha", 1)


def _whole_number(text):
    if len(text) > LONGEST_NUMBER:
        raise InputError(f"the request has a number of {len(text)} digits; expected at most {LONGEST_NUMBER}")
    return int(text)


def check_pixels(items: List[Dict], most: int) -> None:
    """Raise InputError where the pictures of items from `decode` have more than `most` pixels; nothing is decoded.

    A style that several items share counts once, as it is decoded once.
    """
    styles = {source for item in items for source in item["styles"]}
    count = sum(source.pixels() for source in [*(item["content"] for item in items), *styles])
    if count > most:
        raise InputError(f"the pictures of a request may have {most} pixels together; these have {count}")


def decode(images: Any, style_files: bool = True) -> List[Dict]:
    """Read the 'images' of a request, whose pictures are base64 texts of files, as items for `transfer`.

    Args:
        images: as in `Module.serving_method`.
        style_files: whether styles may be style files. Reading one constructs nothing but arrays, but a hostile one
            may take long.

    Raises:
        InputError: which part of which item is wrong.
    """
    sources = {}  # text -> source: equal texts are one source

    def make_source(text, name):
        if not isinstance(text, str):
            raise InputError(f"{name} must be the base64 of a picture file; got {type(text).__name__}")
        if text not in sources:
            try:
                sources[text] = BytesSource(base64.b64decode(text, validate=True), name, style_files)
            except (binascii.Error, ValueError):
                raise InputError(f"{name} is not base64 (RFC 4648, without line breaks or a 'data:' prefix)") from None
        return sources[text]

    return check_items(images, "images", make_source)


def encode(picture: np.ndarray, suffix: str = ".jpg") -> str:
    """Base64 text of a uint8 RGB picture as a file; `suffix` is one of `ppadaattn.media.images.FORMATS`."""
    file = io.BytesIO()
    save_image(file, picture, suffix)
    return base64.b64encode(file.getvalue()).decode("ascii")
