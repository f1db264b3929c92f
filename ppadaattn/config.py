"""Configurations: layers of YAML files and of overrides, checked against a dataclass.

A YAML file holds the keys that differ from the defaults of the dataclass. `_base_` names one YAML file or several whose
keys come first; overrides, words such as `a.b=c`, come last. The keys of a training are in `train/config.py`, those of
a report in `evaluation/config.py`.

This module never imports Paddle.
"""

import dataclasses
import inspect
import math
import re
import typing
from dataclasses import field
from typing import Dict, List

from ppadaattn.errors import InputError, nearest, note, one_line, shown
from ppadaattn.resources import expand, find_config

import yaml

# ---------------------------------------------------------------------------------------------------------------------
# Describing keys
# ---------------------------------------------------------------------------------------------------------------------


def option(default, *, choices=None, least=None, above=None, below=None, formerly=None):
    """A field of a configuration.

    Args:
        default: its value where no file has the key. A tuple becomes a list.
        choices: the only values that it, or an item of it, may have.
        least, above, below: limits: above < value, least <= value < below.
        formerly: a former name of the key, which is still read, with a note.
    """
    limits = {"choices": choices, "least": least, "above": above, "below": below, "formerly": formerly}
    metadata = {"default": default, **{name: limit for name, limit in limits.items() if limit is not None}}
    if isinstance(default, (list, tuple, dict)):
        kind = dict if isinstance(default, dict) else list
        return field(default_factory=lambda: kind(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def option_of(function, name, **limits):
    """A field whose default is that of an argument of the function, or class, that uses it."""
    return option(default_of(function, name), **limits)


def default_of(function, name):
    """The default of an argument, read from the signature that states it."""
    return inspect.signature(function).parameters[name].default


# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------


def read_config(kind, path, overrides=()):
    """A configuration of a YAML file and of overrides.

    Args:
        kind: its dataclass.
        path: the YAML file, or the name of a packaged one (`resources.find_config`).
        overrides: words 'a.b=c'; c is read as YAML.

    Raises:
        InputError: a file that is not found, cannot be read or is no mapping, an unknown key (the nearest is named), a
            key beside its former name, a value of another type or outside its limits.
    """
    values = _read(find_config(path), kind)
    changes = {}
    for word in overrides:
        changes = _merge(changes, _override(word), kind)
    return _build(kind, _merge(values, _rename(changes, kind, "the overrides"), kind), "")


def to_dict(config):
    """A configuration as nested dicts of plain values."""
    return dataclasses.asdict(config)


def to_yaml(config):
    """A configuration as the text of a YAML file with every key."""
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def _read(path, kind, children=()):
    if path.resolve() in children:
        raise InputError(f"{path} is its own _base_")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the configuration {path} cannot be read: {error.strerror or error}") from None
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # no UTF-8; no day
        reason = one_line(" ".join(str(error).split()))
        raise InputError(f"the configuration {path} is not YAML: {reason}") from None
    if not isinstance(values, dict):
        raise InputError(f"the configuration {path} is no mapping of keys to values; expected lines like device: cpu")
    bases = values.pop("_base_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise InputError(f"{path}: _base_ must be a file name or a list of them; got {shown(bases)}")
    merged = {}
    for base in bases:
        merged = _merge(merged, _read(find_config(base, path), kind, (*children, path.resolve())), kind)
    return _merge(merged, _rename(values, kind, path), kind)


def _rename(values, kind, source):
    """`values` under the present names of their keys; one note says which former names `source` has."""
    former = []
    values = _present_names(values, kind, "", former)
    if former:
        note(f"{source}: keys have new names: {', '.join(former)}; the former names are read for this release only")
    return values


def _present_names(values, kind, prefix, former):
    types, renamed = typing.get_type_hints(kind), {}
    present = {item.metadata["formerly"]: item.name for item in dataclasses.fields(kind) if "formerly" in item.metadata}
    for key, value in values.items():
        name = present.get(key, key)
        if name != key:
            if name in values:
                raise InputError(f"{prefix}{key} is the former name of {prefix}{name}; give one of the two")
            former.append(f"{prefix}{key} is now {name}")
        section = dataclasses.is_dataclass(types.get(name)) and isinstance(value, dict)
        renamed[name] = _present_names(value, types[name], f"{prefix}{name}.", former) if section else value
    return renamed


def _merge(below, above, kind):
    """`above` over `below`, section by section; values, such as the mapping of `level_weights`, are replaced whole."""
    merged, types = dict(below), typing.get_type_hints(kind)
    for key, value in above.items():
        if dataclasses.is_dataclass(types.get(key)) and isinstance(merged.get(key), dict):
            if isinstance(value, dict):
                value = _merge(merged[key], value, types[key])
            elif value is None:  # a section whose keys are all commented out
                continue
        merged[key] = value
    return merged


def _override(word):
    name, equals, text = word.partition("=")
    if not equals or not all(name.split(".")):
        raise InputError(f"the override {word} is not of the form a.b=c")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        if not re.search("[\udc80-\udcff]", text):
            raise InputError(f"the override {word}: {text!r} is not a YAML value") from None
        value = text  # the name of a file in bytes that the locale cannot read, which YAML refuses
    for key in reversed(name.split(".")):
        value = {key: value}
    return value


def _build(kind, values, name):
    """A dataclass of `kind` from a dict; `name` is where it stands, with a dot at its end, for messages."""
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise InputError(f"{name[:-1]} must be a mapping of keys to values; got {shown(values)}")
    fields = {item.name: item for item in dataclasses.fields(kind)}
    types = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            raise InputError(
                f"unknown key {name}{one_line(key)}{nearest(key, fields) or '; known: ' + ', '.join(fields)}"
            )
    return kind(
        **{key: _value(types[key], value, f"{name}{key}", fields[key].metadata) for key, value in values.items()}
    )


def _value(kind, value, name, limits):
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, f"{name}.")
    if typing.get_origin(kind) is typing.Union:  # Optional
        kind = typing.get_args(kind)[0]
        if value is None:
            return None
    if typing.get_origin(kind) is list and dataclasses.is_dataclass(typing.get_args(kind)[0]):
        if not isinstance(value, list):
            raise InputError(f"{name} must be a list of mappings of keys to values; got {shown(value)}")
        return [_build(typing.get_args(kind)[0], item, f"{name}[{index}].") for index, item in enumerate(value)]
    converted = _convert(kind, value)
    if converted is None:
        raise InputError(f"{name} must be {_describe(kind)}; got {shown(value)}")
    for item in converted if isinstance(converted, list) else [converted]:
        if "choices" in limits and item not in limits["choices"]:
            raise InputError(f"{name} must be one of {', '.join(limits['choices'])}; got {shown(item)}")
    for limit, broken, words in (
        ("least", lambda number, bound: number < bound, "at least"),
        ("above", lambda number, bound: number <= bound, "above"),
        ("below", lambda number, bound: number >= bound, "below"),
    ):
        if limit in limits and broken(converted, limits[limit]):
            raise InputError(f"{name} must be {words} {limits[limit]}; got {shown(value)}")
    return converted


def _convert(kind, value):
    """The value as `kind`; None where it has another type."""
    if typing.get_origin(kind) is list:
        item = typing.get_args(kind)[0]
        items = [_convert(item, x) for x in value] if isinstance(value, list) else [None]
        return None if None in items else items
    if typing.get_origin(kind) is dict:
        kinds = typing.get_args(kind)
        pairs = value.items() if isinstance(value, dict) else [(None, None)]
        converted = {_convert(kinds[0], key): _convert(kinds[1], item) for key, item in pairs}
        return None if None in converted or None in converted.values() else converted
    if kind is str and isinstance(value, str):
        return expand(value)
    if kind is float:
        try:  # YAML reads 1e-4, without a point, as text
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            return None
        return number if math.isfinite(number) else None
    return value if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)) else None


def _describe(kind):
    if typing.get_origin(kind) in (list, dict):
        return {
            List[int]: "a list of whole numbers, such as [3, 4, 5]",
            List[float]: "a list of numbers, such as [0.6, 1.6]",
            Dict[str, float]: "a mapping of names to numbers, such as {encoder: 0.1}",
            List[str]: "a list of names, such as [encoder.conv1]",
            Dict[int, float]: "a mapping of levels to numbers, such as {5: 0.3}",
        }[kind]
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}[kind]
