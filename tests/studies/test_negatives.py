"""Negatives of every kind: what an image follows from, and that kinds are what they are called."""

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.augment.codecs import libjpeg
from latentfp.data import avatars, pictures
from latentfp.data.files import write_image
from latentfp.fingerprint.basis import coordinates
from latentfp.pixels import to_float
from latentfp.studies import negatives, random_attacks
from latentfp.studies.context import open_context
from latentfp.studies.negatives import ATTACKED, KINDS, UNTOUCHED, Series, draw

SEED = 4


@pytest.fixture(scope="module")
def context(bare_deployment):
    """Images of 8 × 8, codes of 32 bits."""
    return open_context(bare_deployment, seed=0)


@pytest.fixture(scope="module")
def pictures_below(tmp_path_factory):
    """A folder of two pictures of 40 × 30 pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(2):
        pixels = np.random.default_rng(i).integers(256, size=(40, 30, 3), dtype=np.uint8)
        write_image(folder / f"{i}.png", pixels)
    return str(folder)


@pytest.fixture(scope="module")
def drawn(context, pictures_below):
    """Eight of every kind."""
    return {kind: draw(kind, context, 8, seed=SEED, folder=pictures_below) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_follows_from_its_number(kind, context, drawn, pictures_below):
    assert drawn[kind].shape == (8, 8, 8, 3)
    assert drawn[kind].dtype == np.uint8
    np.testing.assert_array_equal(
        draw(kind, context, 3, seed=SEED, first=5, folder=pictures_below), drawn[kind][5:]
    )
    assert (draw(kind, context, 8, seed=SEED + 1, folder=pictures_below) != drawn[kind]).any()


def test_a_folder_must_be_given(context):
    with pytest.raises(ValueError, match="need a folder of image files"):
        draw("folder", context, 1, seed=0)


def test_every_kind_is_another(drawn):
    """Image by image, and most of one kind, too: crops of drawings may be plain white."""
    for number in range(8):
        assert len({drawn[kind][number].tobytes() for kind in KINDS}) == len(KINDS)
    assert min(len({image.tobytes() for image in drawn[kind]}) for kind in KINDS) > 4


def test_across_batches_an_image_is_the_same(context):
    whole = draw("other_users", context, 40, seed=SEED)
    np.testing.assert_array_equal(draw("other_users", context, 6, seed=SEED, first=29), whole[29:35])


def test_the_unmarked_and_the_marked_are_what_they_say(context, drawn):
    """The linear generator is invertible: a code is read where there is one."""
    subject = context.subject

    def levels(kind):
        latents = subject.generator.encode(subject.params, jnp.asarray(to_float(drawn[kind])))
        return np.stack([coordinates(subject.space, w) / subject.sigma for w in latents])

    codes = np.stack(
        [random.integers(2, size=subject.bits) for random in Series("other_users", SEED, 0, 8).generators()]
    )
    assert ((levels("other_users") > 0) == codes).all()
    assert (np.abs(levels("unmarked")) < 0.25).mean() > 0.5  # marks stand at ±1/2


def test_another_generator_is_marked_every_second_time():
    owner = negatives._stranger("avatars-ldm")
    plain = negatives._generated(owner, Series("x", SEED, 0, 2), lambda _number: False)
    mixed = negatives._generated(owner, Series("x", SEED, 0, 2), lambda number: number % 2 == 1)
    assert (plain[0] == mixed[0]).all()
    assert (plain[1] != mixed[1]).any()
    assert negatives._stranger("avatars") is not owner


def test_photographs_show_something():
    crops = [pictures.crop_photograph(random, 32) for random in Series("x", SEED, 0, 200).generators()]
    assert len({crop.tobytes() for crop in crops}) == 200
    assert min(crop.std() for crop in crops) > 0


def test_every_picture_is_there():
    shapes = [pictures.picture(name).shape for name in pictures.PHOTOGRAPHS + pictures.DRAWINGS]
    assert len(shapes) == 25
    assert all(min(h, w) > 100 for h, w, _ in shapes)
    assert pictures.faces().shape == (100, 25, 25, 3)
    with pytest.raises(ValueError, match=r"no skimage/data/nobody.png.*latentfp\[study\]"):
        pictures.picture("skimage/data/nobody.png")


def test_noise_and_flat_pictures_are_what_they_say():
    def gradients(make):
        images = np.stack([make(random, 32) for random in Series("x", SEED, 0, 300).generators()])
        return np.abs(np.diff(images.astype(int), axis=2)).mean(axis=(1, 2, 3)), images

    rough, noisy = gradients(pictures.noise)
    smooth, flat = gradients(pictures.flat)
    assert rough.min() > 0
    assert (smooth == 0).sum() > 60  # a third are of one colour
    assert max(len(np.unique(image[..., 0])) for image in noisy) > 100
    assert any((image == 0).all() or (image == 255).all() for image in flat)


def test_avatars_are_those_of_their_index(drawn):
    first, second = Series("training_data", SEED, 0, 2).generators()
    index = int(first.integers(len(avatars.SPLITS["train"])))
    pixels = avatars.render(avatars.STYLES[0], index, size=64).reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
    assert np.abs(pixels - drawn["training_data"][0]).max() <= 0.5
    assert int(second.integers(2**31)) >= len(avatars.SPLITS["train"])


def test_attacked_images_are_attacked(context):
    """Number i is of kind i mod m, number i div m of another stream of it."""
    kinds = len(UNTOUCHED)
    attacked = draw(ATTACKED, context, 5 * kinds, seed=SEED)
    place = list(UNTOUCHED).index("photographs")
    before = UNTOUCHED["photographs"](context, Series(f"{ATTACKED}/photographs", SEED, 0, 5))
    after = attacked[place::kinds]
    assert all((b != a).any() for b, a in zip(before, after, strict=True))  # one of each attack
    *_, last = Series(ATTACKED, SEED, 0, 2 * kinds + place + 1).generators()
    quality = random_attacks._drawn(last).quality
    np.testing.assert_array_equal(after[2], libjpeg(before[2], quality=quality))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("cats", 1, 0, 0), "kind 'cats': expected one of photographs"),
        (("flat", 0, 0, 0), "n 0"),
        (("flat", 1, -1, 0), "first -1"),
        (("flat", 1, 0, -1), "seed -1"),
    ],
)
def test_what_cannot_be_drawn(context, call, message):
    kind, n, first, seed = call
    with pytest.raises(ValueError, match=message):
        draw(kind, context, n, seed=seed, first=first)
