"""What the page needs to know of who paints for it: models, bundled pictures, options, limits. No library of HTTP."""

from dataclasses import fields

from ppadaattn.infer.options import ClipOptions, PaintOptions, own_fields, value_type
from ppadaattn.media.images import find_images
from ppadaattn.resources import packaged
from ppadaattn.serve.limits import FORMATS
from ppadaattn.version import __version__
from ppadaattn.weights.zoo import DEFAULT_MODEL, DEFAULT_VIDEO_MODEL, MODELS

CLIP_FORMATS = ("mp4", "webm", "gif")  # of painted clips; the first is the default
STYLE_MODES = ("mix", "concat")
# What the page may load, for its Content-Security-Policy: its own files, and pictures that it makes itself.
POLICY = {
    "default-src": "'self'",
    "script-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' blob: data:",
    "media-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
}
# Options that a service decides by itself.
NOT_FOR_CLIENTS = ("batch_size",)


def content_policy(more):
    """The Content-Security-Policy of POLICY, with {directive: sources} in place of its own or besides."""
    return "; ".join(f"{directive} {sources}" for directive, sources in {**POLICY, **more}.items())


def examples(kind):
    """{name: path} of the bundled pictures, 'content' or 'style'."""
    folder = packaged("examples") / kind
    return {path.stem: path for path in find_images([folder])} if folder.is_dir() else {}


def client_options(clip=True):
    """The fields of options that a job may give: those of clips, or of pictures."""
    return [item for item in fields(ClipOptions if clip else PaintOptions) if item.name not in NOT_FOR_CLIENTS]


def describe(models, limits, *, styles, contents):
    """What a page needs to know, as plain values.

    Args:
        models: names of the models that paint.
        limits: {name: value}, those of `Limits` that the page says.
        styles, contents: {name: path} of bundled pictures, at pictures/KIND/NAME.jpg for the page.
    """
    for_clips = {item.name for item in own_fields(ClipOptions)}
    return {
        "version": __version__,
        "models": [
            {"name": name, "description": MODELS[name].description if name in MODELS else ""} for name in models
        ],
        "default_models": {"picture": DEFAULT_MODEL, "clip": DEFAULT_VIDEO_MODEL},
        "modes": list(STYLE_MODES),
        "formats": {"picture": list(FORMATS), "clip": list(CLIP_FORMATS)},
        "options": [
            {
                "name": item.name,
                "type": {bool: "boolean", int: "integer", float: "number"}[value_type(item)],
                "default": limits["size"] if item.name == "size" else item.default,
                "help": item.metadata["help"],
                "limits": item.metadata["limits"].words if item.metadata["limits"] else None,
                "for_clips": item.name in for_clips,
                "command_line": item.metadata.get("command_line", item.default),
            }
            for item in client_options()
        ],
        "limits": limits,
        **{
            kind: [{"name": name, "url": f"pictures/{kind}/{name}.jpg"} for name in pictures]
            for kind, pictures in (("styles", styles), ("contents", contents))
        },
    }


def option_schema():
    """{name: JSON schema} of the options, for the description of the interface."""
    schemas, of_pictures = {}, {item.name for item in client_options(clip=False)}
    for item in client_options():
        kind = {bool: "boolean", int: "integer", float: "number"}[value_type(item)]
        words = item.metadata["help"] + (f"; {item.metadata['limits'].words}" if item.metadata["limits"] else "")
        words += "" if item.name in of_pictures else " (clips only)"
        schemas[item.name] = {"type": kind, "description": words}
        if item.default is not None and item.name != "size":
            schemas[item.name]["default"] = item.default
    return schemas
