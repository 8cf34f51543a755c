"""Images that bear no registered user's code, of every kind, as they are read from a file: 8 bits a value.

    photographs      crops of 20 photographs and 100 small faces: data/pictures.py
    drawings         crops of 5 drawings
    other_styles     avatars of the styles that no shipped generator was trained on: data/avatars.py
    training_data    avatars of the style that the shipped generators were trained on: even numbers from the
                     training split, odd ones of other indices
    unmarked         the deployment's generator without a code
    other_users      the deployment's generator with random codes, which are in no registry
    other_generator  another shipped generator: even numbers unmarked, odd ones with random codes on axes of
                     its own
    noise            white, coloured and in blocks: data/pictures.py
    flat             one colour, gradients, checkerboards, black and white
    folder           crops of the files below a folder of one's own
    attacked         the kinds above but the last in turn, other images of them, through an attack:
                     random_attacks.py

Image number i of a kind depends on the kind, the seed, i, and for generated images on the generator and its
fingerprint space. It does not depend on which others are drawn with it. A random code of k bits is one of N
registered ones with the probability N / 2^k.
"""

import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from latentfp import rng
from latentfp.attribution.descent import Subject
from latentfp.choices import Coding
from latentfp.data import avatars, pictures
from latentfp.deployment.constants import subject_of
from latentfp.deployment.copies import batch_of, draw_latents, mark_latents
from latentfp.deployment.design import complete
from latentfp.deployment.fitting import USUAL, basis_of
from latentfp.fingerprint.basis import split
from latentfp.generators import pretrained
from latentfp.runtime.progress import track
from latentfp.studies.context import Context, Rows
from latentfp.studies.random_attacks import attack

TRAINED_ON, *OTHER_STYLES = avatars.STYLES
NEW_INDICES = 2**31  # of avatars: beyond all splits but for one in 40 000


class Series(NamedTuple):
    """Images number `first` … `first + n - 1` of the stream of this name and seed."""

    name: str
    seed: int
    first: int
    n: int

    @property
    def numbers(self) -> range:
        """Of the images."""
        return range(self.first, self.first + self.n)

    def generators(self) -> Iterator[np.random.Generator]:
        """The random numbers of each image."""
        word = zlib.crc32(self.name.encode())
        return (np.random.default_rng([self.seed, word, number]) for number in self.numbers)


def draw(
    kind: str, context: Context, n: int, *, seed: int, first: int = 0, folder: str | None = None
) -> Rows:
    """Images number `first` … `first + n - 1` of a kind: uint8 [n h w 3], as large as the generator's.

    `folder`: of the kind of that name. Avatars are drawn in spawned processes, so a script needs
    `if __name__ == "__main__":`. ValueError for an unknown kind, a folder that is not given, n < 1, a
    negative seed or number, images that are not square, or pictures that are not installed.
    """
    if kind not in KINDS:
        raise ValueError(f"negatives of kind {kind!r}: expected one of {', '.join(KINDS)}")
    if kind == FOLDER and folder is None:
        raise ValueError(f"negatives of kind {kind!r} need a folder of image files")
    if n < 1 or first < 0 or seed < 0:
        raise ValueError(f"got n {n}, first {first}, seed {seed}: expected n >= 1 and no negative number")
    height, width, _ = context.subject.generator.image_shape
    if height != width:
        raise ValueError(f"the generator makes images of {height} x {width}: negatives are drawn for squares")
    series = Series(kind, seed, first, n)
    if kind == FOLDER:
        return _each(pictures.crop_of(str(folder)))(context, series)
    return _attacked(context, series) if kind == ATTACKED else UNTOUCHED[kind](context, series)


def _each(make: Callable[[np.random.Generator, int], np.ndarray]) -> Callable[[Context, Series], Rows]:
    """A kind of which every image is made from its random numbers and its size."""

    def drawn(context: Context, series: Series) -> Rows:
        size = _size(context)
        images = (make(random, size) for random in series.generators())
        return np.stack(list(track(images, series.name, series.n)))

    return drawn


def _other_styles(context: Context, series: Series) -> Rows:
    chosen = [(random.choice(OTHER_STYLES), random.integers(NEW_INDICES)) for random in series.generators()]
    return _avatars([str(style) for style, _ in chosen], [int(index) for _, index in chosen], context)


def _training_data(context: Context, series: Series) -> Rows:
    trained = len(avatars.SPLITS["train"])
    indices = [
        int(random.integers(NEW_INDICES if number % 2 else trained))
        for number, random in zip(series.numbers, series.generators(), strict=True)
    ]
    return _avatars([TRAINED_ON] * series.n, indices, context)


def _avatars(styles: Sequence[str], indices: Sequence[int], context: Context) -> Rows:
    """Drawn as large as the data set's or as little larger as the size allows, then averaged."""
    size = _size(context)
    drawn = avatars.render_each(styles, indices, size=size * max(1, avatars.SIZE // size))
    return np.concatenate([avatars.shrink(image[None], size) for image in drawn])


def _unmarked(context: Context, series: Series) -> Rows:
    return _generated(context.subject, series, lambda _number: False)


def _other_users(context: Context, series: Series) -> Rows:
    repeats = context.opened.manifest.repeats
    return _generated(context.subject, series, lambda _number: True, repeats=repeats)


def _other_generator(context: Context, series: Series) -> Rows:
    stranger = _stranger(context.opened.manifest.generator.name)
    images = _generated(stranger, series, lambda number: number % 2 == 1)
    size = _size(context)
    if images.shape[1] == size:
        return images
    resized = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image) for image in resized])


def _generated(owner: Subject, series: Series, is_marked: Callable[[int], bool], *, repeats: int = 1) -> Rows:
    """From a multiple of the size of a batch on, so that an image always has the same place in one.

    Messages are uniform; the bits of a code are those of a message, `repeats` times in a row.
    """
    begin = series.first - series.first % batch_of(owner.generator)
    some = series._replace(first=begin, n=series.first + series.n - begin)
    key = rng.stream(rng.root(series.seed), f"negatives/{series.name}")
    w = draw_latents(owner.generator, owner.params, key, count=some.n, first=begin)
    messages = [random.integers(2, size=owner.bits // repeats) for random in some.generators()]
    issued = mark_latents(owner, w, np.stack(messages).astype(bool).repeat(repeats, axis=1))
    marked = np.array([is_marked(number) for number in some.numbers])
    return np.where(marked[:, None, None, None], issued.marked, issued.plain)[series.first - begin :]


@functools.cache
def _stranger(name: str) -> Subject:
    """The first shipped generator of another name, its codes where and how strongly they usually are."""
    loaded = pretrained.load(next(other for other in pretrained.shipped() if other != name))
    sigma, shift, bits, _ = complete(loaded, sigma=None, shift=None, bits=None)
    space = split(basis_of(loaded, USUAL), shift=shift, bits=bits)
    return subject_of(loaded, space, sigma=sigma, coding=Coding.ANTIPODAL)


def _attacked(context: Context, series: Series) -> Rows:
    """Image number i is of kind i mod m, through an attack; the seed is the same and the stream another."""
    numbers, kinds = np.array(series.numbers), len(UNTOUCHED)
    size = _size(context)
    images = np.empty((series.n, size, size, 3), np.uint8)
    for turn, (name, drawn) in enumerate(UNTOUCHED.items()):
        mine = np.flatnonzero(numbers % kinds == turn)
        if len(mine):
            first = int(numbers[mine[0]]) // kinds
            images[mine] = drawn(context, Series(f"{ATTACKED}/{name}", series.seed, first, len(mine)))
    return attack(images, list(series.generators()), turns=numbers // kinds)


def _size(context: Context) -> int:
    return context.subject.generator.image_shape[0]


UNTOUCHED: dict[str, Callable[[Context, Series], Rows]] = {
    "photographs": _each(pictures.crop_photograph),
    "drawings": _each(pictures.crop_drawing),
    "other_styles": _other_styles,
    "training_data": _training_data,
    "unmarked": _unmarked,
    "other_users": _other_users,
    "other_generator": _other_generator,
    "noise": _each(pictures.noise),
    "flat": _each(pictures.flat),
}
ATTACKED, FOLDER = "attacked", "folder"
KINDS = (*UNTOUCHED, ATTACKED, FOLDER)
