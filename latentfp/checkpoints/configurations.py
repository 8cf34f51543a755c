"""Configurations beside foreign weights: YAML and JSON, read as plain values within limits.

YAML aliases are refused: a few lines of them can stand for more values than fit into memory. Numbers are read
as by OmegaConf, with which these configurations were written: 15e-4 is one, which is text to PyYAML.
"""

import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 2**16  # the largest public ones have about 4 KiB
MAX_DEPTH = 32
MAX_NAMED = 20  # settings that one message names


class Loader(yaml.SafeLoader):
    """Plain values only; a number may have an exponent without a point or a sign."""


EXPONENT = re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+$")
Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+.0123456789"))


def read_configuration(path: Path) -> dict[str, Any]:
    """The mapping in a .json, .yaml or .yml file. ValueError, with the path and the reason, for all else."""
    try:
        text = _text(path)
        found = _json(text) if path.suffix == ".json" else _yaml(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: it is no configuration: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: it is no configuration: it holds a {type(found).__name__}")
    return found


def part(configuration: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The mapping at this path in a configuration; ValueError where there is none."""
    found: Any = configuration
    for i, name in enumerate(names):
        found = found.get(name) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise ValueError(f"the configuration has no mapping {'.'.join(names[: i + 1])}")
    return found


def check(settings: Mapping[str, Any], supported: Mapping[str, tuple[Any, ...]], title: str) -> None:
    """ValueError that names settings with an unsupported value; absent ones are as supported.

    supported: names, which may be patterns as of file names, and their values.
    """
    wrong = [
        f"{name} is {value!s:.80}, supported is {' or '.join(map(str, values))}"
        for pattern, values in supported.items()
        for name, value in settings.items()
        if fnmatchcase(str(name), pattern) and value not in values
    ]
    if wrong:
        raise ValueError(f"{title} has settings that are not supported: {'; '.join(wrong[:MAX_NAMED])}")


def numbers(configuration: Mapping[str, Any], name: str, *, most: int = 2**16) -> list[int]:
    """The whole numbers 1 … `most` in the list of this name; ValueError for all else."""
    found = configuration.get(name)
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_DEPTH:
        raise ValueError(f"{name} is {found!s:.80}, expected a list of 1 to {MAX_DEPTH} numbers")
    return [number({name: one}, name, most=most) for one in found]


def number(
    configuration: Mapping[str, Any], name: str, *, most: int = 2**16, usual: int | None = None
) -> int:
    """The whole number 1 … `most` of this name, `usual` where it is absent; ValueError for all else."""
    found = configuration.get(name, usual)
    if type(found) is not int or not 1 <= found <= most:
        raise ValueError(f"{name} is {found!s:.80}, expected a whole number from 1 to {most}")
    return found


def positive(
    configuration: Mapping[str, Any], name: str, *, most: float = 1e6, usual: float | None = None
) -> float:
    """The number of this name, above 0 and at most `most`, `usual` where it is absent; else ValueError."""
    found = configuration.get(name, usual)
    if not isinstance(found, int | float) or not 0 < found <= most:
        raise ValueError(f"{name} is {found!s:.80}, expected a number above 0 and at most {most:g}")
    return float(found)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    return raw.decode()


def _json(text: str) -> Any:
    found = json.loads(text)
    level, depth = [found], 0
    while level := [inner for value in level for inner in _inside(value)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    return found


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _yaml(text: str) -> Any:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > MAX_DEPTH:
            raise ValueError(f"it has aliases or is nested more than {MAX_DEPTH} deep")
    return yaml.load(text, Loader)
