"""Generators of other programs: told apart, read whole, written as folders of ours."""

import copy
import json

import jax
import numpy as np
import pytest
from latent_diffusion_files import (
    CONFIGURATION,
    INDEX,
    SCHEDULER,
    UNET,
    VAE,
    draw_params,
    write_compvis,
    write_diffusers,
)

from latentfp.checkpoints import formats
from latentfp.choices import Format
from latentfp.deployment import fitting
from latentfp.generators import pretrained


@pytest.fixture(scope="module")
def params():
    return draw_params()


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_folder_of_diffusers_is_read_whole(params, tmp_path):
    path = write_diffusers(tmp_path / "pipeline", params)
    assert formats.recognise(path) is Format.DIFFUSERS
    found, origin = formats.read(path, Format.DIFFUSERS)
    assert_same(found.params, params)
    assert (found.kind, found.fields["size"], found.fields["scale"]) == ("latent_diffusion", 32, 0.5)
    sampling = [found.fields[name] for name in ("betas", "spacing", "first", "last")]
    assert sampling == [[0.0015, 0.0195], "diffusers", 0, 1.0]
    assert set(origin.sha256) == {
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vqvae/config.json",
        "vqvae/diffusion_pytorch_model.safetensors",
        "scheduler/scheduler_config.json",
    }


@pytest.mark.parametrize("averaged", [True, False])
def test_a_checkpoint_of_compvis_is_read_whole(params, tmp_path, averaged):
    path = write_compvis(tmp_path, params, averaged=averaged)
    assert formats.recognise(path) is Format.COMPVIS
    found, origin = formats.read(path, Format.COMPVIS)
    assert_same(found.params, params)
    assert (found.fields["size"], found.fields["scale"]) == (32, 1.0)
    raw = found.ignored.pop("the denoiser before averaging", None)
    assert (raw is not None) == averaged
    rate = {"the rate of the averaging": 2} if averaged else {}
    assert found.ignored == {"part of the noise schedule, which is computed": 2, **rate}
    assert set(origin.sha256) == {"model.ckpt", "config.yaml"}


def test_a_measured_scale_goes_before_the_one_that_is_stated(params, tmp_path):
    path = write_compvis(tmp_path, params, more={"scale_factor": np.full((), 0.25, np.float32)})
    assert formats.read(path, Format.COMPVIS)[0].fields["scale"] == 0.25


def test_a_first_stage_alone_is_a_generator_without_a_prior(params, tmp_path):
    folder = write_diffusers(tmp_path / "pipeline", params) / "vqvae"
    found, _ = formats.import_generator(folder, tmp_path / "stage")
    assert found.kind == "first_stage"
    assert_same(pretrained.read(tmp_path / "stage").params, params["first_stage"])
    assert pretrained.load(str(tmp_path / "stage")).generator.image_shape == (32, 32, 3)
    larger, _ = formats.read(folder, Format.DIFFUSERS, size=48)
    assert larger.fields["size"] == 48
    with pytest.raises(ValueError, match="images of 47 pixels: expected a multiple of 2 up to 4096"):
        formats.read(folder, Format.DIFFUSERS, size=47)
    with pytest.raises(ValueError, match="for which size of images it is: leave --size out"):
        formats.read(folder.parent, Format.DIFFUSERS, size=48)
    with pytest.raises(ValueError, match="latentfp says for which size"):
        formats.read(tmp_path / "stage", Format.LATENTFP, size=48)


def test_an_imported_generator_is_fitted_like_any_other(params, tmp_path):
    tame = jax.tree.map(lambda x: 0.02 * x, params)
    formats.import_generator(write_diffusers(tmp_path / "pipeline", tame), tmp_path / "generator")
    described = json.loads((tmp_path / "generator" / "generator.json").read_text())
    assert described["source"]["format"] == "diffusers"
    assert len(described["source"]["sha256"]) == 6
    loaded = pretrained.load(str(tmp_path / "generator"))
    assert_same(loaded.params, tame)
    small = loaded._replace(generator=loaded.generator._replace(sample=cheap))
    basis = fitting.sample_basis(small, fitting.Sampling(1000, 0, axes=12))
    assert basis.axes.shape == (12, 768)


def cheap(_params, key, n):
    return jax.random.normal(key, (n, 768))


def test_nothing_is_overwritten(params, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="exists and nothing is overwritten"):
        formats.import_generator(write_diffusers(tmp_path / "p", params), tmp_path / "out")


def test_a_configuration_is_found_or_asked_for(params, tmp_path):
    path = write_compvis(tmp_path / "a", params)
    other = (tmp_path / "a" / "config.yaml").rename(tmp_path / "other.yaml")
    with pytest.raises(ValueError, match=r"give its .yaml with --config, beside it there is none"):
        formats.read(path, Format.COMPVIS)
    assert formats.read(path, Format.COMPVIS, other)[1].sha256.keys() == {"model.ckpt", "other.yaml"}
    for name in ("x.yaml", "y.yml"):
        (path.parent / name).write_text("a: 1")
    with pytest.raises(ValueError, match=r"beside it there is x.yaml, y.yml"):
        formats.read(path, Format.COMPVIS)


def test_others_take_no_configuration(params, tmp_path):
    folder = write_diffusers(tmp_path / "p", params)
    with pytest.raises(ValueError, match="diffusers needs no --config, only compvis does"):
        formats.read(folder, Format.DIFFUSERS, folder / "model_index.json")


def changed(tree, value, *path):
    tree = copy.deepcopy(tree)
    at = tree
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return tree


ABSENT = object()
IN_MODEL = ("model", "params")
IN_UNET = (*IN_MODEL, "unet_config", "params")
IN_STAGE = (*IN_MODEL, "first_stage_config", "params", "ddconfig")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*IN_UNET, "context_dim"), 768, r"images of a text .* see docs/your_pipeline\.md"),
        ((*IN_UNET, "use_spatial_transformer"), True, "use_spatial_transformer is True"),
        ((*IN_MODEL, "parameterization"), "x0", "parameterization is x0, supported is eps"),
        ((*IN_MODEL, "cond_stage_config"), {"target": "x"}, "cond_stage_config is"),
        ((*IN_STAGE, "attn_resolutions"), [16], r"attn_resolutions is \[16\]"),
        ((*IN_STAGE, "double_z"), True, "double_z is True, supported is False"),
        (
            (*IN_STAGE, "resolution"),
            10**9,
            "resolution is 1000000000, expected a whole number from 1 to 4096",
        ),
        ((*IN_STAGE, "ch_mult"), [1, 2, 4], "weights do not match a latent diffusion of CompVis: .* missing"),
        ((*IN_UNET, "num_head_channels"), -1, "num_head_channels is -1, expected a whole number"),
        ((*IN_MODEL, "linear_end"), 0.012, "not the constant that they should be: state_dict.alphas_cumprod"),
        ((*IN_MODEL, "linear_end"), "high", "linear_end is high, expected a number above 0 and at most 1"),
        (IN_UNET, None, "the configuration has no mapping unet_config.params"),
    ],
)
def test_what_compvis_could_mean_otherwise_is_refused(params, tmp_path, path, value, message):
    file = write_compvis(tmp_path, params, configuration=changed(CONFIGURATION, value, *path))
    with pytest.raises(ValueError, match=message) as caught:
        formats.read(file, Format.COMPVIS)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("index", "unet", ["diffusers", "UNet1DModel"], "a UNet1DModel, expected a UNet2DModel"),
        ("index", "scheduler", ABSENT, "expected a pipeline of vqvae or vae, unet and scheduler"),
        ("vae", "_class_name", "AutoencoderDC", "a AutoencoderDC, expected a VQModel or AutoencoderKL or"),
        ("vae", "shift_factor", 0.1, "has a shift_factor, which a latent diffusion of ours has not"),
        ("vae", "shift_factor", "high", "shift_factor is high, expected a number"),
        ("vae", "num_vq_embeddings", 17, "unusable: quantize.embedding.weight"),
        ("vae", "scaling_factor", 0, "scaling_factor is 0, expected a number above 0"),
        ("unet", "freq_shift", 1, "freq_shift is 1, supported is 0"),
        ("unet", "down_block_types", ["DownBlock2D"], "expected 2 of"),
        ("unet", "up_block_types", ["UpBlock2D", "UpBlock2D"], "up_block_types is"),
        ("unet", "attention_head_dim", 24, "64 channels are not heads of 24 each"),
        ("scheduler", "prediction_type", "v_prediction", "prediction_type is v_prediction"),
        ("scheduler", "steps_offset", 7, "steps_offset 7, expected 0 or 1"),
        ("scheduler", "_class_name", "PNDMScheduler", "_class_name is PNDMScheduler"),
        ("scheduler", "clip_sample", ABSENT, "clip_sample is True, supported is False"),
        ("scheduler", "beta_schedule", ABSENT, "beta_schedule is linear, supported is scaled_linear"),
    ],
)
def test_what_diffusers_could_mean_otherwise_is_refused(params, tmp_path, part, name, value, message):
    usual = {"vae": VAE, "unet": UNET, "scheduler": SCHEDULER, "index": INDEX}
    other = {**usual[part], name: value}
    if value is ABSENT:
        del other[name]
    folder = write_diffusers(tmp_path / "pipeline", params, **{part: other})
    with pytest.raises(ValueError, match=message) as caught:
        formats.read(folder, Format.DIFFUSERS)
    assert str(folder) in str(caught.value)
