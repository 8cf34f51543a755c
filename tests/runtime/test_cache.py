"""What processes leave for later ones. JAX reads its settings at import, so each case has its own process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from linear_space import write_deployment

START = """
import json, os, sys
from pathlib import Path
from latentfp.runtime.environment import enable_compilation_cache
enable_compilation_cache()
assert not {"jax", "numpy"} & sys.modules.keys()
"""
SETTINGS = START + 'print(json.dumps({k: v for k, v in os.environ.items() if k.startswith("JAX_")}))'
COMPILE = """
import jax
import numpy as np
hits, total = [], 0.0
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event.endswith("/cache_hits")))
for number in range(int(sys.argv[1])):
    total += float(jax.jit(lambda x: (x @ x + number).sum())(np.ones((4, 4), np.float32)))
print(json.dumps([sum(hits), total]))
"""
HELP = """
import sys
from latentfp import cli
sys.argv = ["latentfp", "--help"]
try:
    cli.run()
finally:
    assert "jax" not in sys.modules
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep" / "compiled"


@pytest.fixture
def start(tmp_path, folder):
    """Starts a program with a home folder of its own, LATENTFP_CACHE, and nothing of the caller's JAX."""

    def start(program, *arguments, **changes):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_", "LATENTFP_"))}
        own = {"HOME": str(tmp_path), "JAX_PLATFORMS": "cpu", "LATENTFP_CACHE": str(folder)}
        quick = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env={**inherited, **own, **quick, **changes},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start


def answer(process):
    """What a program printed, once it has ended well and said nothing else."""
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    return json.loads(out)


def entries(folder):
    return sorted(folder.glob("*-cache"))


def compiled(number):
    """The sum of what COMPILE computes: 16 elements of 4 + i each, for every program i."""
    return float(sum(16 * (4 + i) for i in range(number)))


def test_what_two_processes_compile_at_once_serves_a_third(start, folder):
    both = [start(START + COMPILE, "3") for _ in range(2)]
    assert [answer(process)[1] for process in both] == [compiled(3)] * 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(entries(folder)) >= 3
    hits, total = answer(start(START + COMPILE, "3"))
    assert (hits, total) == (len(entries(folder)), compiled(3))


def test_the_size_is_bounded_by_forgetting_what_was_not_used_lately(start, folder):
    answer(start(START + COMPILE, "1"))
    first = entries(folder)
    bound = 4 * max(path.stat().st_size for path in first)
    answer(start(START + COMPILE, "9", JAX_COMPILATION_CACHE_MAX_SIZE=str(bound)))
    kept = entries(folder)
    assert kept
    assert sum(path.stat().st_size for path in kept) <= bound
    assert not set(first) <= set(kept)


def test_unfinished_and_damaged_entries_are_compiled_again_in_silence(start, folder):
    answer(start(START + COMPILE, "2"))
    damaged, unfinished, *_ = [path for path in entries(folder) if "lambda" in path.name]
    damaged.write_bytes(b"nothing")
    unfinished.write_bytes(b"half")
    unfinished.with_name(unfinished.name.replace("-cache", "-atime")).unlink()
    assert answer(start(START + COMPILE, "3")) == [len(entries(folder)) - 3, compiled(3)]
    assert unfinished.stat().st_size > 1000
    assert len([path for path in entries(folder) if "lambda" in path.name]) == 3


def test_a_folder_that_disappears_is_silent(start):
    loss = "import shutil; shutil.rmtree(os.environ['JAX_COMPILATION_CACHE_DIR']); "
    loss += "Path(os.environ['JAX_COMPILATION_CACHE_DIR']).write_text('a file')\n"
    assert answer(start(START + loss + COMPILE, "2")) == [0, compiled(2)]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "home/.cache/latentfp/compiled"),
        ({"XDG_CACHE_HOME": "not/absolute"}, "home/.cache/latentfp/compiled"),
        ({"XDG_CACHE_HOME": "{root}/xdg"}, "xdg/latentfp/compiled"),
        ({"XDG_CACHE_HOME": "{root}/xdg", "LATENTFP_CACHE": "~/own"}, "home/own"),
    ],
)
def test_where_the_cache_lies(start, tmp_path, variables, expected):
    given = {name: value.format(root=tmp_path) for name, value in variables.items()}
    settings = answer(start(SETTINGS, **{"LATENTFP_CACHE": "", "HOME": str(tmp_path / "home"), **given}))
    assert settings["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / expected)
    assert settings["JAX_COMPILATION_CACHE_MAX_SIZE"] == str(256 * 2**20)
    assert settings["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "0"  # the caller's, which wins
    assert (tmp_path / expected).is_dir()


def unwritable(folder: Path):
    folder.parent.write_text("a file")


def open_to_others(folder: Path):
    folder.mkdir(parents=True)
    folder.chmod(0o777)


@pytest.mark.parametrize("prepare", [unwritable, open_to_others])
def test_a_folder_that_cannot_be_used_is_not_used(start, folder, prepare):
    prepare(folder)
    assert "JAX_COMPILATION_CACHE_DIR" not in answer(start(SETTINGS))


def test_the_users_own_cache_stays_as_it_is(start, folder, tmp_path):
    settings = answer(start(SETTINGS, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine")))
    assert settings["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "mine")
    assert "JAX_COMPILATION_CACHE_MAX_SIZE" not in settings
    assert not folder.exists()


def test_a_command_uses_the_cache_and_help_does_not(start, folder, tmp_path):
    deployment = write_deployment(tmp_path)
    helping = start(HELP)
    assert "attribute" in helping.communicate(timeout=60)[0]
    assert helping.returncode == 0
    assert not folder.exists()
    request = [
        "generate",
        "--deployment",
        deployment,
        "--user",
        "bob",
        "--count",
        "1",
        "--out",
        tmp_path / "out",
    ]
    command = start("from latentfp import cli; cli.run()", *map(str, request))
    assert command.communicate(timeout=60)[1] == ""
    assert command.returncode == 0
    assert entries(folder)
