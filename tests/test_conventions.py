"""The rules of the house that a program can check."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jax.numpy as jnp
import jaxtyping
import pytest

from latentfp import build
from latentfp.generators.stylegan2 import networks

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "latentfp").rglob("*.py"))
TREES = {file.relative_to(ROOT): ast.parse(file.read_text()) for file in PACKAGE}

# Imports only point down this list; the public names of __init__ are imported when they are asked for.
ROOMS = [
    "cli",
    "main",
    "api",
    "build",
    "integrations",
    "report",
    "bench",
    "studies",
    "deployment",
    "training",
    "attribution",
    "fingerprint",
    "augment",
    "quality",
    "checkpoints",
    "generators",
    "data",
    "runtime",
    "pixels",
    "rng",
    "types",
    "choices",
    "__init__",
]


def room(file):
    return file.parts[1].removesuffix(".py")


def imported_rooms(tree):
    """The parts of latentfp that a file imports, at its top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for first, *others in (name.split(".") for name in names):
            if first == "latentfp":
                yield others[0] if others and others[0] in ROOMS else "__init__"


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def defaults(function):
    """The arguments of a function that have a default."""
    arguments = function.args
    ordered = [*arguments.posonlyargs, *arguments.args]
    yield from (argument.arg for argument in ordered[len(ordered) - len(arguments.defaults) :])
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            yield argument.arg


def test_every_file_is_in_a_room():
    assert {room(file) for file in TREES} <= set(ROOMS)


def test_imports_point_down():
    up = [
        f"{file} must not know about {other}"
        for file, tree in TREES.items()
        for other in sorted(set(imported_rooms(tree)))
        if room(file) != "__init__" and ROOMS.index(other) < ROOMS.index(room(file))
    ]
    assert up == []


def test_no_key_has_a_default():
    found = [
        f"{file}:{function.lineno} {function.name}({name})"
        for file, tree in TREES.items()
        for function in functions(tree)
        for name in defaults(function)
        if re.fullmatch(r"(\w+_)?(key|keys|rng)", name)
    ]
    assert found == []


def test_nothing_is_called_utils():
    names = {file.stem for file in TREES} | {f.name for tree in TREES.values() for f in functions(tree)}
    assert [name for name in names if re.fullmatch(r"_*(\w+_)?(utils?|helpers?|misc|common)", name)] == []


def test_nothing_is_a_stub():
    words = re.compile("NotImplemented|TODO|FIXME|from __future__ import annotations")
    assert [file for file in PACKAGE if words.search(file.read_text())] == []


def test_only_the_mesh_knows_devices():
    words = re.compile(r"PartitionSpec|NamedSharding|shard_map|axis_name|\b(pmean|psum|pmap)\b")
    found = [file for file in PACKAGE if words.search(file.read_text())]
    assert found == [ROOT / "latentfp/runtime/mesh.py"]


def test_files_and_functions_are_short():
    long = [f"{file} has {n} lines" for file in PACKAGE if (n := len(file.read_text().splitlines())) > 700]
    long += [
        f"{file}: {function.name} has {n} lines"
        for file, tree in TREES.items()
        for function in functions(tree)
        if (n := (function.end_lineno or 0) - function.lineno + 1) > 80
    ]
    assert long == []


def test_every_file_and_public_function_says_what_it_is():
    silent = [str(file) for file, tree in TREES.items() if not ast.get_docstring(tree)]
    silent += [
        f"{file}: {node.name}"
        for file, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_public_signatures_are_typed():
    bare = [
        f"{file}: {node.name}"
        for file, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        if not node.returns or any(not a.annotation for a in ast.walk(node.args) if isinstance(a, ast.arg))
    ]
    assert bare == []


def test_importing_the_package_imports_nothing_heavy():
    program = "import sys, latentfp; print(sorted({'jax', 'numpy', 'tensorflow'} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_every_file_of_the_package_is_in_the_wheel():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = [f"{at}/{it}" for at, its in setuptools["package-data"].items() for it in its]
    files = [file.relative_to(ROOT) for file in (ROOT / "latentfp").rglob("*") if file.is_file()]
    data = [file for file in files if file.suffix not in (".py", ".pyc")]
    assert len(data) > 20
    assert [file for file in data if not any(file.match(pattern) for pattern in patterns)] == []


def test_shapes_are_checked_while_testing():
    with pytest.raises(jaxtyping.TypeCheckError):
        networks.broadcast(jnp.zeros((2, 3, 4)), 5)
    with pytest.raises(jaxtyping.TypeCheckError):
        networks.mix(jnp.zeros((2, 5, 4)), jnp.zeros((2, 5, 3)), jnp.zeros((2,), int))


def test_shapes_are_not_checked_otherwise():
    """The checks cost time and belong to the tests: no module of the package asks for them."""
    assert not [file for file in PACKAGE if re.search("beartype|jaxtyped", file.read_text())]


@pytest.mark.parametrize("file", sorted((ROOT / "configs").rglob("*.py")), ids=lambda file: file.stem)
def test_a_configuration_says_how_it_is_run(file, tmp_path):
    name = file.relative_to(ROOT).with_suffix("")
    config = importlib.import_module(".".join(name.parts))
    assert config.__doc__
    fields = config.get_config().to_dict()
    assert fields
    if name.name != "base":
        assert f"python -m latentfp.main --config={name.as_posix()}.py" in config.__doc__
    if name.parent.name in ("studies", "bench"):
        assert callable(build.prepare(fields, workdir=tmp_path))
