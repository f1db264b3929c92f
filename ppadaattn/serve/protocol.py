"""Requests and answers of `hub serving`: pictures as base64 in JSON; items painted one after the other."""

import base64
import binascii
import io

from ppadaattn.errors import InputError
from ppadaattn.infer.stylizer import STYLE_SIZE
from ppadaattn.media.images import FORMATS, flatten, read_image
from ppadaattn.model.style import Style, check_strength
from ppadaattn.weights.checkpoint import is_style_data

from PIL import Image

ITEM = "a dict with 'content', a list 'styles' and, where they are mixed, 'weights'"


def transfer(stylizer, items, alpha=1, size=0):
    """Paint items one after the other; a style that several of them share is prepared once.

    Args:
        stylizer: a Stylizer.
        items: list of {'content': source, 'styles': [source, ...], 'weights': [number, ...] or None}, as `decode`
            gives them.
        alpha: the strength.
        size: long side to which contents are reduced; 0 leaves them as they are.

    Yields:
        uint8 RGB arrays.

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
        yield stylizer(content, _mixture([prepared[source] for source in item["styles"]], item), strength=alpha)


def decode(images, style_files=True):
    """The items for `transfer` of a request's 'images', whose pictures are base64 of files.

    Args:
        images: as in `Module.serving_method`.
        style_files: whether styles may be style files. Reading one constructs nothing but arrays, but a hostile one
            may take long.

    Raises InputError that names what is wrong.
    """
    known = {}  # text -> source: equal texts are one source

    def source(text, name):
        if not isinstance(text, str):
            raise InputError(f"{name} must be the base64 of a picture file; got {type(text).__name__}")
        if text not in known:
            try:
                known[text] = _File(base64.b64decode(text, validate=True), name, style_files)
            except (binascii.Error, ValueError):
                raise InputError(f"{name} is not base64 (RFC 4648, without line breaks or a 'data:' prefix)") from None
        return known[text]

    return check_items(images, "images", source)


def encode(picture, suffix=".jpg"):
    """Base64 text of an RGB uint8 picture as a file of a format of `ppadaattn.images.FORMATS`."""
    kind, options = FORMATS[suffix]
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format=kind, **options)
    return base64.b64encode(file.getvalue()).decode("ascii")


class _File:
    """The bytes of a picture file or of a style file."""

    def __init__(self, data, name, style_files):
        self.data, self.name, self.style_files = data, name, style_files

    def picture(self, long_side):
        if self._is_style():
            raise InputError(f"{self.name} is a style file; expected a picture")
        return flatten(read_image(_Open(self.data, self.name), long_side))

    def style(self, stylizer):
        if not self._is_style():
            return stylizer.prepare_style(self.picture(STYLE_SIZE))
        if not self.style_files:
            raise InputError(f"{self.name} is a style file, which this service does not take; send the picture")
        return stylizer.load_style(_Open(self.data, self.name))

    def _is_style(self):
        return is_style_data(self.data)


class _Open(io.BytesIO):
    """Bytes as an open file with a name for messages."""

    def __init__(self, data, name):
        super().__init__(data)
        self._name = name

    def __str__(self):
        return self._name


def check_items(given, where, source):
    """Items with their pictures as sources; `source(picture, name)` makes them. InputError says which part is wrong."""
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
            raise InputError(f"{name}['styles'] must be a list of at least one style; got {_brief(styles)}")
        items.append(
            {
                "name": name,
                "content": source(item["content"], f"{name}['content']"),
                "styles": [source(style, f"{name}['styles'][{index}]") for index, style in enumerate(styles)],
                "weights": item.get("weights"),
            }
        )
    return items


def _brief(value):
    return repr(value) if isinstance(value, (list, tuple)) else type(value).__name__


def _mixture(styles, item):
    weights = item["weights"]
    if weights is None and len(styles) == 1:
        return styles[0]
    try:
        return Style.mix(styles, weights)
    except (OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{item['name']}['weights']: {error}") from None
