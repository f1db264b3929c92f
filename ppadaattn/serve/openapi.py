"""The OpenAPI description of the service's programming interface; /api.html shows it to readers."""

from ppadaattn.serve.about import CLIP_FORMATS, STYLE_MODES, option_schema
from ppadaattn.serve.jobs import KEYS, OVER
from ppadaattn.serve.limits import FORMATS
from ppadaattn.version import __version__

ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
SENTENCE = {"type": "string", "description": "one sentence that says what was wrong and what would be right"}
NULLABLE = {"nullable": True}


def description(limits):
    """The description as a dict, in OpenAPI 3.0.

    Args:
        limits: Limits, which the description states.
    """
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "ppadaattn",
            "version": __version__,
            "description": "Paint pictures and clips in the style of pictures. Send files once, name them in a job, "
            f"follow the job, fetch its result. Files and results are removed {limits.keep_seconds:g} s after their "
            "last use.",
        },
        "servers": [{"url": "."}],
        "paths": _paths(limits),
        "components": {"schemas": {"Job": _job(), "NewJob": _new_job(limits), "File": _file(), "Error": _error()}},
    }


def _paths(limits):
    body = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    job = _content("Job", "the job")
    return {
        "/files": {
            "post": {
                "summary": "Send a picture, a clip or a style file: its bytes are the body of the request",
                "description": f"Pictures have up to {limits.max_body} MiB, clips up to {limits.max_upload} MiB.",
                "requestBody": {"required": True, "content": body},
                "responses": _responses({"201": _content("File", "the file, kept")}, 400, 408, 413, 503),
            }
        },
        "/files/{id}": {
            "delete": {
                "summary": "Remove a file",
                "parameters": [ID],
                "responses": _responses({"204": {"description": "removed"}}, 404, 409),
            }
        },
        "/jobs": {
            "post": {
                "summary": "Paint a picture or a clip; without content: prepare a style file",
                "requestBody": {"required": True, **_content("NewJob")},
                "responses": _responses({"201": job}, 400, 404, 413, 503),
            }
        },
        "/jobs/{id}": {
            "get": {"summary": "How a job stands", "parameters": [ID], "responses": _responses({"200": job}, 404)},
            "delete": {
                "summary": "Stop a job and remove what it made",
                "parameters": [ID],
                "responses": _responses({"200": job}, 404),
            },
        },
        "/jobs/{id}/events": {
            "get": {
                "summary": "Follow a job: server-sent events, each with the job as data, until it is over",
                "parameters": [ID],
                "responses": _responses({"200": _file_of("text/event-stream", "events named `job`")}, 404, 503),
            }
        },
        "/jobs/{id}/preview": {
            "get": {
                "summary": "The picture, or the first frame of the clip, painted small",
                "parameters": [ID],
                "responses": _responses({"200": _file_of("image/jpeg", "the small picture")}, 404),
            }
        },
        "/jobs/{id}/result": {
            "get": {
                "summary": "The painted file",
                "parameters": [ID],
                "responses": _responses({"200": _file_of("application/octet-stream", "the file")}, 404, 409),
            }
        },
        "/options": {
            "get": {
                "summary": "Models, bundled styles, options with their defaults, limits",
                "responses": {"200": {"description": "as JSON"}},
            }
        },
        "/predict/{name}": {
            "post": {
                "summary": "PaddleHub's `hub serving`: pictures as base64 in JSON, painted in one request",
                "parameters": [{**ID, "name": "name", "description": "of a model"}],
                "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
                "responses": {"200": {"description": '{"status": "000", "msg": "", "results": [{"data": base64}]}'}},
            }
        },
        "/health": {"get": {"summary": "Whether the service is ready", "responses": {"200": {"description": "JSON"}}}},
        "/metrics": {"get": {"summary": "For Prometheus", "responses": {"200": {"description": "text"}}}},
    }


def _content(schema, words=None):
    content = {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}
    return content if words is None else {"description": words, **content}


def _file_of(kind, words):
    return {"description": words, "content": {kind: {"schema": {"type": "string", "format": "binary"}}}}


def _responses(good, *bad):
    reasons = {
        400: "bad input",
        403: "a page of another site, or a name that is not allowed",
        404: "there is none, or it has expired",
        408: "the body did not arrive in time",
        409: "not now",
        413: "too large",
        503: "too many wait, no room, or the service ends; try again later",
    }
    return {**good, **{str(status): _content("Error", reasons[status]) for status in (*bad, 403)}}


def _error():
    return {"type": "object", "properties": {"error": SENTENCE}}


def _file():
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "the name of the file in jobs"},
            "kind": {"type": "string", "enum": ["picture", "clip", "gif"]},
            "size": {"type": "integer", "description": "in bytes"},
        },
    }


def _new_job(limits):
    words = {
        "content": {"type": "string", **NULLABLE, "description": "id of a picture or clip; none: the style as a file"},
        "styles": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": limits.max_pictures - 1,
            "description": "names of bundled styles (GET /options), or ids of pictures or style files",
        },
        "weights": {
            "type": "array",
            "items": {"type": "number"},
            **NULLABLE,
            "description": "one a style, for a mixture; equal ones where they are left out",
        },
        "mode": {
            "type": "string",
            "enum": list(STYLE_MODES),
            "default": STYLE_MODES[0],
            "description": "mix several styles by their weights, or put them side by side",
        },
        "mask": {
            "type": "string",
            **NULLABLE,
            "description": "id of a picture with a flat colour for each region of the content; black is no region",
        },
        "colours": {
            "type": "array",
            "items": {"type": "string", **NULLABLE},
            **NULLABLE,
            "description": "with a mask: for each style the colour of the region that it paints, #rrggbb, or null",
        },
        "model": {"type": "string", **NULLABLE, "description": "default: the model for pictures, or that for clips"},
        "options": {
            "type": "object",
            "properties": option_schema(),
            "additionalProperties": False,
            "description": f"`size` is {limits.size} unless given, which is also the most",
        },
        "format": {
            "type": "string",
            **NULLABLE,
            "enum": [*FORMATS, *CLIP_FORMATS, "style"],
            "description": f"of pictures {' or '.join(FORMATS)}, of clips {' or '.join(CLIP_FORMATS)}",
        },
    }
    return {
        "type": "object",
        "required": ["styles"],
        "additionalProperties": False,
        "properties": {key: words[key] for key in KEYS},
    }


def _job():
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "state": {"type": "string", "enum": ["waiting", "painting", *OVER]},
            "place": {"type": "integer", "description": "how many must be done before its turn; 0: it is its turn"},
            "done": {"type": "integer", "description": "frames of a clip that are painted"},
            "total": {"type": "integer", "description": "about how many frames there are"},
            "seconds_left": {"type": "number", **NULLABLE, "description": "about; null where nobody can say"},
            "preview": {"type": "string", **NULLABLE, "description": "address of the small picture"},
            "result": {"type": "string", **NULLABLE, "description": "address of the painted file"},
            "expires_in": {"type": "integer", "description": "seconds until the result is removed"},
            "width": {"type": "integer"},
            "height": {"type": "integer"},
            "frames": {"type": "integer"},
            "note": {"type": "string", "description": "how a clip is damaged or cut short"},
            "error": {**SENTENCE, **NULLABLE},
            "status": {"type": "integer", "description": "with an error: as a status of HTTP"},
        },
    }
