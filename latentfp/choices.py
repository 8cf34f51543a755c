"""What can be chosen, in code, on the command line and in files, by the same words. Imports nothing heavy."""

import enum


class Coding(enum.StrEnum):
    """How a bit becomes a level: antipodal ±1/2, or the paper's binary 0 and 1."""

    ANTIPODAL = "antipodal"
    BINARY = "binary"

    @property
    def offset(self) -> float:
        """What is subtracted from a bit to make its level."""
        return 0.5 if self is Coding.ANTIPODAL else 0.0


class Layout(enum.StrEnum):
    """Which axes a basis has: those of the whole latent, those of each of its channels in turn, or spatial
    frequencies of mixed channels."""

    JOINT = "joint"
    CHANNELS = "channels"
    FREQUENCIES = "frequencies"


class ImageFormat(enum.StrEnum):
    """Of the image files that are written."""

    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"


class Format(enum.StrEnum):
    """Of a generator that is imported: another program's, or a folder of ours."""

    ROSINALITY = "rosinality"
    NVIDIA = "nvidia"
    COMPVIS = "compvis"
    DIFFUSERS = "diffusers"
    TAESD = "taesd"
    LATENTFP = "latentfp"


class CopyFormat(enum.StrEnum):
    """Of a generator, or of a user's copy, that is written.

    rosinality: .pt with {"g_ema", "latent_avg"}; nvidia: .pt with {"G_ema", "settings"}, the state of
    a module of stylegan2-ada-pytorch or stylegan3; latentfp: a generator folder of ours; latents: what a copy
    does to latents.
    """

    ROSINALITY = "rosinality"
    NVIDIA = "nvidia"
    LATENTFP = "latentfp"
    LATENTS = "latents"


class Method(enum.StrEnum):
    """How codes are estimated: by a cascade of stages, or by one of them; attribution/cascade.py."""

    AUTO = "auto"
    ENCODER = "encoder"
    DECODER = "decoder"
    REFINE = "refine"
    MULTISTART = "multistart"
    REFERENCE = "reference"


class Stage(enum.IntEnum):
    """The stages of attribution, from the cheapest to the dearest."""

    ENCODER = 0
    DECODER = 1
    REFINE = 2
    MULTISTART = 3
    REFERENCE = 4


class Distance(enum.StrEnum):
    """What the reference search minimises."""

    MULTISCALE = "multiscale"
    LPIPS = "lpips"


class CodeKind(enum.StrEnum):
    """How users get codes: drawn far apart, or words of a BCH code, for more users than can be drawn."""

    RANDOM = "random"
    BCH = "bch"


class Status(enum.StrEnum):
    """Whether a user's copy is in use."""

    ACTIVE = "active"
    REVOKED = "revoked"


class CodeOrigin(enum.StrEnum):
    """Where a user's code came from: drawn in secret, from a seed that somebody knows, or supplied."""

    DRAWN = "drawn"
    SEEDED = "seeded"
    SUPPLIED = "supplied"


# What is meant where no user is named.
MEANINGS = {
    "none": "no registered copy made it",
    "inconclusive": "not attributable, too little of a code is left",
}
