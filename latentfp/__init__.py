"""latentfp: latent fingerprints that make image generators accountable.

Every user's copy of a generator marks its images with that user's code, written along minor principal
axes of the latent space; an image file alone then names the user. Method: Nie, Kim, Yang, Ren,
"Attributing Image Generative Models using Latent Fingerprints", ICML 2023 (arXiv 2304.09752).

    import latentfp as lf

    dep = lf.fit("deployment", generator="avatars")
    dep.users.add("alice", "bob")
    images = dep.generate("alice", count=8, seed=0)
    for finding in dep.attribute(images):
        print(finding.verdict, finding.user, finding.p_value)

Names are imported when they are first used (PEP 562), so `import latentfp` takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # for editors and type checkers, which cannot see what is imported later
    from latentfp import integrations
    from latentfp.api import (
        Deployment,
        Users,
        evaluate,
        export_generator,
        fit,
        import_generator,
        linear_generator,
        open,
    )
    from latentfp.augment.attacks import Attack
    from latentfp.augment.suites import suite
    from latentfp.data.files import UnreadableImage, read_image, write_image
    from latentfp.deployment.attribute import Finding
    from latentfp.deployment.manifest import TamperedDeployment
    from latentfp.deployment.origin import Joint
    from latentfp.deployment.planning import plan
    from latentfp.generators.contract import check as check_generator
    from latentfp.generators.generator import Generator
    from latentfp.generators.pretrained import load as load_generator
    from latentfp.quality.pixels import psnr

__all__ = [
    "Attack",
    "Deployment",
    "Finding",
    "Generator",
    "Joint",
    "TamperedDeployment",
    "UnreadableImage",
    "Users",
    "check_generator",
    "evaluate",
    "export_generator",
    "fit",
    "import_generator",
    "integrations",
    "linear_generator",
    "load_generator",
    "open",
    "plan",
    "psnr",
    "read_image",
    "suite",
    "write_image",
]
# Where each public name is defined; one that is called otherwise there stands after a colon.
_HOMES = {
    "api": (
        *("Deployment", "Users", "evaluate", "export_generator", "fit", "import_generator"),
        *("linear_generator", "open"),
    ),
    "augment.attacks": ("Attack",),
    "augment.suites": ("suite",),
    "data.files": ("UnreadableImage", "read_image", "write_image"),
    "deployment.attribute": ("Finding",),
    "deployment.manifest": ("TamperedDeployment",),
    "deployment.origin": ("Joint",),
    "deployment.planning": ("plan",),
    "generators.contract": ("check_generator:check",),
    "generators.generator": ("Generator",),
    "generators.pretrained": ("load_generator:load",),
    "quality.pixels": ("psnr",),
}
_HOME_OF = {
    name.partition(":")[0]: (module, name.partition(":")[2] or name)
    for module, names in _HOMES.items()
    for name in names
}


def __getattr__(name: str) -> Any:
    if name == "integrations":
        return importlib.import_module("latentfp.integrations")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'latentfp' has no attribute {name!r}")
    module, defined = _HOME_OF[name]
    value = getattr(importlib.import_module(f"latentfp.{module}"), defined)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
