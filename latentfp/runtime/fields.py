"""Sections of a configuration as keyword arguments: all that a function needs, and nothing that it does not.

A section may hold a function or a class under `make`: its value is then what that returns for the other
fields, so a reader of a configuration follows the name to where the fields are used. A misspelt, missing or
unused field is a ValueError before anything is made.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Fields = Mapping[str, Any]
Result = TypeVar("Result")
MAKE = "make"


def made(value: Any, *, section: str) -> Any:
    """The value of a section, with the sections in it made first. Anything else is returned as it is."""
    if isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        return [made(item, section=f"{section}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    fields = {name: made(field, section=f"{section}.{name}") for name, field in value.items() if name != MAKE}
    if MAKE not in value:
        return fields
    if not callable(value[MAKE]):
        raise ValueError(f"{section}.{MAKE} is {value[MAKE]!r}: expected a function or a class")
    return call(value[MAKE], fields, section=section)


def call(function: Callable[..., Result], fields: Fields, *, section: str, **given: Any) -> Result:
    """`function(**fields, **given)`, once the fields are known to be all of the function's and only those."""
    check(function, fields, section=section, given=set(given))
    return function(**fields, **given)


def check(function: Callable[..., Any], fields: Fields, *, section: str, given: set[str]) -> None:
    """ValueError lists fields that `function` lacks and those that it needs beside the `given` ones."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in given
    }
    unknown = sorted(fields.keys() - parameters.keys())
    needed = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    missing = sorted(needed - fields.keys())
    if unknown or missing:
        raise ValueError(
            f"{section} does not fit: unknown fields {unknown}, missing fields {missing}; "
            f"its fields are {sorted(parameters)}"
        )


def recorded(value: Any) -> Any:
    """The same as JSON has it, with `module:name` in place of functions and classes."""
    return json.loads(json.dumps(value, default=lambda code: f"{code.__module__}:{code.__qualname__}"))
