"""Files that people have: read as what they are, or refused by what they are, with the way out.

Each test says which program's file it imitates. `seen` is how `latentfp import` meets a file: nobody says
which format it has.
"""

import gzip
import json
import os
import pickle
import shutil
import zipfile

import jax
import numpy as np
import pytest
import rosinality_oracle as oracle
import yaml
from latent_diffusion_files import CONFIGURATION, compvis_tensors, draw_params, write_compvis, write_diffusers
from safetensors.numpy import save_file
from torch_layout import Call, dump, nvidia_network, write_tree, write_zip

from latentfp import cli
from latentfp.checkpoints import formats, stylegan2
from latentfp.checkpoints.adopt import Imported
from latentfp.checkpoints.configurations import read_configuration
from latentfp.choices import Format
from latentfp.generators import pretrained
from latentfp.generators.stylegan2 import model

SHAPE = {"channels": [5, 4, 3], "latent_dim": 6, "mapping_layers": 2}


def seen(path):
    """The format and the generator of a file or folder."""
    form = formats.recognise(path)
    return form, formats.read(path, form)[0]


@pytest.fixture(scope="module")
def tree():
    """A training checkpoint of the rosinality port."""
    return oracle.random_checkpoint(np.random.default_rng(1), **SHAPE)


@pytest.fixture(scope="module")
def diffusion():
    return draw_params()


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_an_inverter_is_no_latent_diffusion(tree, tmp_path):
    """pSp: torch.save({"state_dict": net.state_dict(), "opts": vars(opts), "latent_avg": [layers, d]})."""
    flat = {f"decoder.{name}": x for name, x in stylegan2.flatten(tree["g_ema"]).items()}
    state = flat | {"encoder.body.0.res_layer.1.weight": np.ones((2, 2, 3, 3), np.float32)}
    average = np.tile(tree["latent_avg"], (6, 1))
    saved = {"state_dict": state, "opts": {"encoder_type": "GradualStyleEncoder"}, "latent_avg": average}
    form, found = seen(write_tree(tmp_path / "psp_ffhq_encode.pt", saved))
    assert form is Format.ROSINALITY
    assert_same(found.params, stylegan2.from_rosinality(tree).params)


def test_maps_of_a_seed_are_kept_as_the_seed(tree, tmp_path, capsys):
    """rosinality's public 550000.pt: {"g", "d", "g_ema", …} without `noises` and `latent_avg`."""
    saved = {name: {k: v for k, v in tree["g_ema"].items() if k != "noises"} for name in ("g", "g_ema")}
    path = write_tree(tmp_path / "550000.pt", listed(saved))
    cli.app(["import", str(path), "--out", str(tmp_path / "out")], standalone_mode=False)
    told = capsys.readouterr().out
    assert "no noise maps in the file: fixed ones are drawn from seed 0, which is kept" in told
    assert "no average latent in the file" in told
    loaded = pretrained.load(str(tmp_path / "out"))
    assert pretrained.read(tmp_path / "out").noise_seed == 0
    assert_same(loaded.params["noise"], model.fixed_noise(16, 0))
    again = stylegan2.from_rosinality(stylegan2.to_rosinality({"size": 16, **SHAPE}, loaded.params))
    assert_same(again.params, loaded.params)


def test_a_pickle_of_nvidia_with_another_z(tree, tmp_path, capsys):
    """legacy.py and train.py of stylegan2-ada-pytorch: {"training_set_kwargs", "G", "D", "G_ema", …}."""
    z = np.random.default_rng(3).standard_normal((6, 4)).astype(np.float32)
    tensors = oracle.nvidia_generator(tree) | {"mapping.fc0.weight": z}
    settings = {"z_dim": 4, "c_dim": 0, "w_dim": 6, "img_channels": 3, "synthesis.b4.conv1.conv_clamp": 256}
    network = nvidia_network(tensors, settings)
    path = tmp_path / "network-snapshot-025000.pkl"
    path.write_bytes(dump({"G": network, "D": None, "G_ema": network, "augment_pipe": None}))
    cli.app(["import", str(path), "--out", str(tmp_path / "out")], standalone_mode=False)
    assert "stylegan2 from nvidia" in capsys.readouterr().out
    loaded = pretrained.load(str(tmp_path / "out"))
    assert loaded.generator.sample(loaded.params, jax.random.key(0), 3).shape == (3, 6)
    np.testing.assert_array_equal(loaded.params["mapping"]["fc0"]["kernel"], z.T)
    assert_same(loaded.params["synthesis"], stylegan2.from_rosinality(tree).params["synthesis"])


def test_a_pickle_of_stylegan3(tmp_path):
    """stylegan3's `Generator` without --cfg=stylegan2: layers named by their size and width."""
    tensors = {
        "synthesis.L0_36_512.weight": np.ones((3, 3, 1, 1), np.float32),
        "mapping.w_avg": np.ones(4, "f4"),
    }
    path = tmp_path / "stylegan3-t-ffhq-1024x1024.pkl"
    path.write_bytes(dump({"G_ema": nvidia_network(tensors, {"c_dim": 0})}))
    with pytest.raises(ValueError, match=r"it is a StyleGAN3, .* see docs/extend\.md"):
        seen(path)


def listed(tree):
    """Modules of a Sequential under their numbers, as in a state."""
    if isinstance(tree, list):
        tree = {str(i): one for i, one in enumerate(tree)}
    return {name: listed(one) for name, one in tree.items()} if isinstance(tree, dict) else tree


@pytest.mark.parametrize("stated", [0.3, None])
def test_a_checkpoint_that_was_cast_to_half_with_its_schedule(diffusion, tmp_path, stated):
    """CompVis: `model.half()` before saving casts every buffer: alphas_cumprod, scale_factor, weights."""
    tensors = compvis_tensors(diffusion, averaged=True) | {"scale_factor": np.array(0.3, np.float32)}
    half = {name: x.astype(np.float16) if x.dtype == np.float32 else x for name, x in tensors.items()}
    configuration = json.loads(json.dumps(CONFIGURATION))
    if stated is not None:
        configuration["model"]["params"]["scale_factor"] = stated
    path = write_tree(tmp_path / "model.ckpt", {"state_dict": half})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(configuration))
    form, found = seen(path)
    assert form is Format.COMPVIS
    assert found.fields["scale"] == (float(np.float16(0.3)) if stated is None else stated)
    assert_same(found.params, jax.tree.map(lambda x: x.astype(np.float16).astype(np.float32), diffusion))


def test_a_schedule_of_half_precision_is_still_checked(diffusion, tmp_path):
    """A schedule that ends at 0.0205 is none of 0.0195, in half precision, too."""
    other = np.cumprod(1 - np.linspace(0.0015**0.5, 0.0205**0.5, 1000) ** 2).astype(np.float16)
    path = write_compvis(tmp_path, diffusion, more={"alphas_cumprod": other})
    with pytest.raises(ValueError, match=r"should be: state_dict\.alphas_cumprod"):
        seen(path)


def test_numbers_with_an_exponent_as_their_own_software_reads_them(diffusion, tmp_path):
    """YAML by hand: `linear_start: 15e-4` is text to PyYAML, and a number to OmegaConf."""
    path = write_compvis(tmp_path, diffusion)
    text = (tmp_path / "config.yaml").read_text()
    assert "0.0015\n" in text
    text = text.replace("linear_start: 0.0015\n", "linear_start: 15e-4\n    scale_factor: 2E1\n")
    (tmp_path / "config.yaml").write_text(text)
    _, found = seen(path)
    assert found.fields["betas"] == [0.0015, 0.0195]
    assert found.fields["scale"] == 20.0


@pytest.mark.parametrize(
    ("text", "value"),
    [("15e-4", 15e-4), ("1E3", 1e3), ("-2.5e+1", -25.0), (".5e1", 5.0), ("1_0e2", 1e3)]
    + [(text, text) for text in ("e1", "1e", "15e-4x", "1.2.3e4", "0b1e2x", "'15e-4'")],
)
def test_what_is_a_number(tmp_path, text, value):
    (tmp_path / "config.yaml").write_text(f"a: {text}\n")
    assert read_configuration(tmp_path / "config.yaml")["a"] == (
        value if isinstance(value, float) else text.strip("'")
    )


def test_a_state_of_a_latent_diffusion_in_safetensors(diffusion, tmp_path):
    """The same tensors without "state_dict", as converters write them."""
    write_compvis(tmp_path, diffusion)
    (tmp_path / "model.ckpt").unlink()
    tensors = {name: np.array(x, order="C") for name, x in compvis_tensors(diffusion, averaged=False).items()}
    save_file(tensors, tmp_path / "model.safetensors")
    form, found = seen(tmp_path / "model.safetensors")
    assert form is Format.COMPVIS
    assert_same(found.params, diffusion)


ATTENTION = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
TEXT = r"makes images of a text .* its pipeline can be fingerprinted as it is: see docs/your_pipeline\.md"


def test_stable_diffusion_is_called_what_it_is(tmp_path):
    """v1-5-pruned.ckpt without its .yaml, and the same in safetensors."""
    state = {ATTENTION: np.ones((4, 8), np.float32)}
    paths = [write_tree(tmp_path / "v1-5.ckpt", {"state_dict": state})]
    save_file(state, tmp_path / "v1-5.safetensors")
    paths.append(tmp_path / "v1-5.safetensors")
    for path in paths:
        with pytest.raises(ValueError, match=TEXT) as caught:
            seen(path)
        assert str(path) in str(caught.value)


INDICES = {
    "sd": {"vqvae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"]},
    "flux": {"vqvae": ["diffusers", "AutoencoderKL"], "transformer": ["diffusers", "FluxTransformer2DModel"]},
    "class": {"vqvae": 1, "scheduler": 1, "unet": ["diffusers", "UNet2DConditionModel"]},
}


@pytest.mark.parametrize("name", INDICES)
def test_of_a_pipeline_of_a_text_the_autoencoder_is_taken(diffusion, tmp_path, name):
    folder = write_diffusers(tmp_path / name, diffusion)
    (folder / "model_index.json").write_text(json.dumps(INDICES[name]))
    form, found = seen(folder)
    assert (form, found.kind) == (Format.DIFFUSERS, "first_stage")
    assert_same(found.params, diffusion["first_stage"])
    assert "its vqvae is taken" in found.notes[0]
    shutil.rmtree(folder / "vqvae")
    with pytest.raises(ValueError, match=r"vqvae has no config\.json"):
        seen(folder)


def tensorflow(module):
    """pickle.dump((G, D, Gs), file) of dnnlib.tflib.network.Network, of protocol 4."""
    name = b"".join(b"\x8c" + bytes([len(text)]) + text for text in (module, b"Network"))
    return b"\x80\x04\x95\x40\x00\x00\x00\x00\x00\x00\x00" + name + b"\x93)\x81}b."


def archive(path, names):
    with zipfile.ZipFile(path, "w") as written:
        for name in names:
            written.writestr(name, b"content")
    return path.read_bytes()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 381673535\n"
PAGE = b"\n<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"
OTHERS = {
    "a pointer of Git LFS.* `git lfs pull`": LFS,
    "a web page, saved in place of the file .* download the file again": PAGE,
    r"\(.*a login, a quota": b"<html><body>404</body></html>",
    "compressed with gzip: unpack it": gzip.compress(b"weights"),
    "a 7z archive: unpack it": b"7z\xbc\xaf\x27\x1c" + bytes(40),
    "a RAR archive: unpack it": b"Rar!\x1a\x07\x00" + bytes(40),
    r"an HDF5 file \(of Keras or flaxmodels\)": b"\x89HDF\r\n\x1a\n" + bytes(40),
    "it is empty: get it again": b"",
    r"TensorFlow network .* `python legacy\.py --source": tensorflow(b"dnnlib.tflib.network"),
    r"asks for tfutil\.Network, .*TensorFlow": tensorflow(b"tfutil"),
    r"asks for training\.model\.Net, which weights do not need": dump(Call("training.model.Net")),
}


@pytest.mark.parametrize("message", OTHERS)
@pytest.mark.parametrize("ending", ["pt", "pkl"])
def test_what_is_met_in_place_of_weights_is_named(tmp_path, message, ending):
    path = tmp_path / f"stylegan2.{ending}"
    path.write_bytes(OTHERS[message])
    with pytest.raises(ValueError, match=message) as caught:
        seen(path)
    assert str(path) in str(caught.value)
    for form in (Format.ROSINALITY, Format.NVIDIA):
        with pytest.raises(ValueError, match=message):
            formats.read(path, form)


def test_a_pointer_in_a_folder_is_named_too(diffusion, tmp_path):
    """A clone of a hub's repository without Git LFS: all is there but the weights."""
    folder = write_diffusers(tmp_path / "pipeline", diffusion)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(LFS)
    with pytest.raises(
        ValueError, match=r"unet/diffusion_pytorch_model\.safetensors: it is a pointer of Git LFS"
    ):
        seen(folder)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["model/data.pkl", "model/constants.pkl", "model/code/x.py"],
            r"a TorchScript program: save the `state_dict",
        ),
        (["arr_0.npy", "arr_1.npy"], r"a NumPy archive \(\.npz\)"),
        (
            ["ckpt/network.pkl", "ckpt/readme"],
            r"unpack it and import what it holds \(ckpt/network\.pkl, ckpt/re",
        ),
        ([], r"what it holds \(nothing\)"),
    ],
)
def test_zip_files_that_are_no_checkpoints(tmp_path, names, message):
    archive(tmp_path / "file.pt", names)
    if not names:
        (tmp_path / "file.pt").write_bytes(b"PK\3\4" + bytes(26) + (tmp_path / "file.pt").read_bytes())
    with pytest.raises(ValueError, match=message):
        seen(tmp_path / "file.pt")


def test_parts_of_other_things_are_named(diffusion, tmp_path):
    folder = write_diffusers(tmp_path / "pipeline", diffusion)
    with pytest.raises(ValueError, match="one file of a folder of diffusers: import the folder"):
        seen(folder / "unet" / "diffusion_pytorch_model.safetensors")
    save_file({"axes": np.eye(2, 4, dtype="f4"), "offset": np.zeros(4, "f4")}, tmp_path / "alice")
    with pytest.raises(
        ValueError, match=r"a user's copy as a map of latents.* latentfp\.integrations\.diffusers"
    ):
        seen(tmp_path / "alice")
    path = write_zip(tmp_path / "other.pt", pickle.dumps({"epoch": 3, "model": 1}, 2), {})
    with pytest.raises(ValueError, match=r"no generator in one of the formats .*: it holds epoch, model"):
        seen(path)


@pytest.mark.parametrize("form", [Format.ROSINALITY, Format.NVIDIA, Format.LATENTFP])
@pytest.mark.parametrize("clamp", [None, 256.0])
def test_what_is_exported_is_imported_again(tree, tmp_path, form, clamp):
    """The unmarked generator, in every format that StyleGAN2 is written in, and back, number for number."""
    params = stylegan2.from_rosinality(tree).params
    fields = {"size": 16, **SHAPE, "clamp": clamp}
    out = tmp_path / "exported"
    if clamp and form is Format.ROSINALITY:
        with pytest.raises(ValueError, match="clamps at"):
            formats.export_generator(Imported("stylegan2", fields, params, {}), out, form)
        return
    formats.export_generator(Imported("stylegan2", fields, params, {}), out, form)
    found, origin = formats.import_generator(out, tmp_path / "imported")
    assert origin.format is form
    assert found.fields.get("clamp") == clamp
    assert_same(found.params, params)
    assert_same(pretrained.load(str(tmp_path / "imported")).params, params)
    with pytest.raises(ValueError, match="exists and nothing is overwritten"):
        formats.export_generator(found, out, form)


def test_a_latent_diffusion_is_exported_as_a_folder_of_ours(diffusion, tmp_path):
    folder = write_diffusers(tmp_path / "pipeline", diffusion)
    found, _ = formats.import_generator(folder, tmp_path / "imported")
    again, origin = formats.import_generator(tmp_path / "imported", tmp_path / "again")
    assert origin.format is Format.LATENTFP
    assert again.fields == found.fields
    assert_same(again.params, diffusion)
    with pytest.raises(
        ValueError, match="a latent_diffusion is not written in the format nvidia: use latentfp"
    ):
        formats.export_generator(found, tmp_path / "out", Format.NVIDIA)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(ValueError, match=r"pipe\.pt: it is a pipe, socket or device"):
        formats.recognise(tmp_path / "pipe.pt")
