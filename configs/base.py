"""The fields that configurations share, each stated once. A configuration is this plus the lines that differ.

`get_config()` of a configuration returns a ConfigDict, and the docstring of its file records the command, the
hardware, the time it took and the numbers it printed. What is run, made and measured are functions of the
package, so `latentfp.build` refuses fields that these do not have.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, config_dict

from latentfp import build

EMBEDDED = {"avatars": "the embedded StyleGAN2", "avatars-ldm": "the embedded latent diffusion"}  # in titles


def get_config() -> ConfigDict:
    """The fields shared by all runs."""
    config = ConfigDict()
    config.seed = 0  # of every random number of the run
    return config


def train_config() -> ConfigDict:
    """The fields shared by all training runs; `objective` and the sizes are the configuration's own."""
    config = get_config()
    config.run = build.train
    config.data = ConfigDict(
        {
            "dataset": "avatars",  # or avatars/STYLE, or the path of a folder of images
            "split": "train",
            "size": 64,  # pixels, of the square images
            "data_dir": config_dict.placeholder(str),  # where data sets lie; None: ~/.cache/latentfp
        }
    )
    config.train = ConfigDict(
        {
            "steps": 10_000,
            "batch": 32,  # images a step, on all devices together
            "log_every": 100,  # steps
            "preview_every": 1000,  # steps
            "checkpoint_every": 1000,  # steps
            "keep": 2,  # checkpoints
        }
    )
    return config


def study_config(measure: Callable[..., Any], page: Callable[..., Path] | None = None) -> ConfigDict:
    """The fields shared by studies. `study` holds the settings of `measure`, and is the configuration's own.

    `page`: what shows the result, if anything does.
    """
    config = get_config()
    config.run, config.measure, config.page = build.study, measure, page
    config.name = measure.__module__.rpartition(".")[2]  # the stem of every file that is written
    config.title = config.name
    config.stream = "report"  # of random numbers: those of `tune` chose settings, so report on others
    return config


def bench_config(measure: Callable[..., Any], page: Callable[..., Path] | None = None) -> ConfigDict:
    """The fields shared by benches. `study` holds the arguments of `measure`."""
    config = get_config()
    config.run, config.measure, config.page = build.bench, measure, page
    return config
