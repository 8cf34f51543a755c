"""Networks in the pickles of stylegan2-ada-pytorch and stylegan3, without running the code that they carry.

A file holds {"G", "D", "G_ema", …}. Each network, and each module inside it, is a call of
`_reconstruct_persistent_obj` on a record with the source text of its class (which the original loader
executes and this one drops) and its `state`: parameters, buffers, submodules and plain attributes. Every
tensor is a byte string that is itself a file in PyTorch's older format.
"""

from typing import Any

import numpy as np

from latentfp.checkpoints import torch_files
from latentfp.checkpoints.builders import Builders, expect
from latentfp.checkpoints.mapped import PathLike, opened
from latentfp.checkpoints.pickles import load

MAX_DEPTH = 16
MAX_MODULES = 10_000


class Module:
    """One module of a network: the state it was saved with."""

    def __init__(self, record: Any):
        self.state = expect(expect(record, dict).get("state"), dict)

    def members(self, kind: str) -> list[tuple[str, Any]]:
        """Names and values of its "_parameters", "_buffers" or "_modules" that are not None."""
        values = expect(self.state.get(kind), dict)
        return [(str(name), value) for name, value in values.items() if value is not None]


BUILDERS: Builders = {
    **torch_files.BUILDERS,
    "torch_utils.persistence._reconstruct_persistent_obj": Module,
    "torch.storage._load_from_bytes": lambda raw: torch_files.read_legacy(expect(raw, bytes)),
}


def read_network(path: PathLike, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Settings and tensors of the network `name` ("G_ema", "G" or "D") of a .pkl file, both by dotted path.

    Settings are the plain attributes of every module, such as "c_dim" or "synthesis.b8.conv0.conv_clamp".
    Raises ValueError, with the path and the reason, for a damaged file or one that asks for a name that is
    not needed to hold weights. Nothing is executed.
    """
    with opened(path) as mapped:
        tree = expect(load(mapped, BUILDERS), dict)
        networks = {key: value for key, value in tree.items() if isinstance(value, Module)}
        if name not in networks:
            raise ValueError(f"it has no network {name}, only {', '.join(map(str, networks)) or 'none'}")
        return _collect(networks[name])


def _collect(network: Module) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    settings, tensors = {}, {}
    modules: list[tuple[str, Module]] = [("", network)]
    for prefix, module in modules:
        if prefix.count(".") > MAX_DEPTH or len(modules) > MAX_MODULES:
            raise ValueError(f"its modules are nested more than {MAX_DEPTH} deep or more than {MAX_MODULES}")
        for key, value in module.state.items():
            if not str(key).startswith("_") and isinstance(value, str | int | float | None):
                settings[f"{prefix}{key}"] = value
        for key, value in module.members("_parameters") + module.members("_buffers"):
            tensors[prefix + key] = expect(value, np.ndarray)
        modules += [(f"{prefix}{key}.", expect(child, Module)) for key, child in module.members("_modules")]
    return settings, tensors
