"""What a provider does: plan and fit a fingerprint space, make images and checkpoints, adopt a decoder."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from latentfp.choices import CodeKind, Coding, Format, ImageFormat, Layout
from latentfp.cli.options import (
    CopyFormatOption,
    CopyOption,
    DeploymentOption,
    GeneratorOption,
    SigmaOption,
    WhereOption,
    seed_option,
)


def plan(
    users: Annotated[int, typer.Option(help="How many users there will be.")],
    alpha: Annotated[float, typer.Option(help="Largest rate of accusing anyone falsely, an image.")] = 1e-6,
    bits: Annotated[int | None, typer.Option(help="Length of a code; the usual ones if left out.")] = None,
    power: Annotated[float, typer.Option(help="Share of marked images that must be named.")] = 0.999,
) -> None:
    """Say which code serves so many users, and which rate of wrong bits it forgives.

    Example: latentfp plan --users 1000000 --alpha 1e-6
    """
    from latentfp.deployment import planning

    lengths = planning.LENGTHS if bits is None else (bits,)
    found = planning.plans(users, lengths=lengths, alpha=alpha, power=power)
    if not any(isinstance(it, planning.CodePlan) for it in found):
        raise ValueError("; ".join(map(str, found)))
    for it in found:
        typer.echo(it if isinstance(it, str) else planning.describe(it))


def design(
    out: Annotated[Path, typer.Option(help="The file to write, for `latentfp fit --design`.")],
    target_accuracy: Annotated[
        float, typer.Option(help="Share of bits that shall be read right under every attack.")
    ] = 0.99,
    attack: Annotated[
        str, typer.Option(help="nie2023, or some of none,blur,noise,jpeg,combination,crop.")
    ] = "nie2023",
    generator: GeneratorOption = "avatars",
    bits: Annotated[int | None, typer.Option(help="Length of a code; 64, or what --users need.")] = None,
    users: Annotated[int | None, typer.Option(help="How many users the code must tell apart.")] = None,
    alpha: Annotated[float, typer.Option(help="False-accusation rate among these users.")] = 1e-6,
    samples: Annotated[int, typer.Option(min=1, help="Latents at which axes are surveyed.")] = 8,
    seed: Annotated[int, seed_option("Of these latents.")] = 0,
) -> None:
    """Choose axes and strength at the least visible change, by prediction: nothing is attributed.

    Example: latentfp design --attack noise --target-accuracy 0.95 --out design.json
    """
    from latentfp.deployment import design as designing
    from latentfp.deployment.fitting import USUAL, basis_of
    from latentfp.generators import pretrained

    if bits is not None and users is not None:
        raise ValueError("the users say how many bits are needed: give --bits or --users")
    lengths = [designing.BITS if bits is None else bits]
    if users is not None:
        lengths = designing.lengths_for(users, alpha=alpha, target=target_accuracy)
    loaded = pretrained.load(generator)
    asked = {"target": target_accuracy, "attacks": attack, "bits": lengths}
    designing.check(loaded, **asked)
    found = designing.design(loaded, basis_of(loaded, USUAL), **asked, samples=samples, seed=seed)
    designing.write(out, found)
    right = ", ".join(f"{name} {share:.1%}" for name, share in found.accuracy.items())
    typer.echo(
        f"{len(found.axes)} bits, sigma {found.sigma:.3g}, {found.psnr:.1f} dB\n"
        f"predicted right bits: {right}\n"
        f"axes {', '.join(map(str, found.axes))}\n"
        f"Next: latentfp fit --generator {generator} --design {out} --out DEPLOYMENT"
    )


def fit(
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    generator: GeneratorOption = "avatars",
    sigma: SigmaOption = None,
    shift: Annotated[
        int | None, typer.Option(help="First principal axis of the code; the usual one if left out.")
    ] = None,
    bits: Annotated[int | None, typer.Option(help="Length of a code; 64 if left out.")] = None,
    coding: Coding = Coding.ANTIPODAL,
    min_distance: Annotated[
        int | None, typer.Option(help="Bits between any two users' codes; a quarter of `bits` if left out.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Latents whose principal axes are computed.")] = 10_000,
    seed: Annotated[int, seed_option("Of these samples.")] = 0,
    repeats: Annotated[int, typer.Option(help="How many times in a row a code has each message bit.")] = 1,
    layout: Annotated[
        Layout,
        typer.Option(
            help="Axes of the whole latent, of each channel of it in turn, or spatial frequencies, for which "
            "a hundred latents suffice."
        ),
    ] = Layout.JOINT,
    axes: Annotated[
        int | None,
        typer.Option(help="Leading axes that are computed: all, or up to the code beyond 4096 dimensions."),
    ] = None,
    codes: Annotated[
        CodeKind, typer.Option(help="Drawn far apart, or an algebraic code: see `latentfp plan`.")
    ] = CodeKind.RANDOM,
    message: Annotated[
        int | None, typer.Option(help="Bits of a user's number in an algebraic code [36 of 64].")
    ] = None,
    secret: Annotated[
        Path | None,
        typer.Option(
            help="A file of mode 0600, made if it is missing, that hides which direction is which bit; later "
            "commands find it by LATENTFP_SECRET."
        ),
    ] = None,
    design: Annotated[
        Path | None, typer.Option(help="A file of `latentfp design`: which axes, and how strongly.")
    ] = None,
    bundle: Annotated[
        bool | None,
        typer.Option(
            "--bundle/--no-bundle",
            help="Whether a copy of the generator goes with the deployment; below 64 MB, if left out.",
        ),
    ] = None,
    latents: Annotated[
        list[Path],
        typer.Option(help="A .npy or .safetensors file of latents in place of samples; may be repeated."),
    ] = [],  # noqa: B006
    images: Annotated[
        Path | None, typer.Option(help="A folder of images whose encodings take the place of samples.")
    ] = None,
) -> None:
    """Fit a fingerprint space to a generator and start a registry of users.

    Example: latentfp fit --out deployment --sigma 2
    """
    options = locals()
    from latentfp.deployment import fitting

    made = fitting.fit(**options)
    it = made.manifest
    where = f"axes {it.shift} to {it.shift + it.bits - 1}" if design is None else f"the axes of {design}"
    typer.echo(
        f"{made.path}: {it.bits} bits on {where} of {generator}, "
        f"sigma {it.sigma:g}. Next: latentfp users add --deployment {made.path} NAME"
    )


def import_(
    path: Annotated[Path, typer.Argument(help="The file or folder of another program.")],
    out: Annotated[Path, typer.Option(help="The folder to make, for `latentfp fit --generator`.")],
    form: Annotated[
        Format | None, typer.Option("--format", help="Whose format it is; recognised if left out.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The .yaml of a .ckpt; the one beside it if left out.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Of an autoencoder's images, in pixels; as it says if left out.")
    ] = None,
) -> None:
    """Read a generator of another program: StyleGAN2 of rosinality or NVIDIA, LDM of CompVis or diffusers; of
    pipelines of diffusers that make images of a text, their autoencoder.

    Example: latentfp import stylegan2-ffhq-config-f.pt --out ffhq
    """
    from latentfp.checkpoints import formats

    found, origin = formats.import_generator(path, out, form=form, configuration=config, size=size)
    for reason, count in found.ignored.items():
        typer.echo(f"not needed: {count} tensors, {reason}")
    for note in found.notes:
        typer.echo(note)
    alone = found.kind == "first_stage"
    given = " --latents FILE" if alone else ""
    fit = f"latentfp fit --generator {out}{given} --sigma 1 --out DEPLOYMENT"
    typer.echo(f"{out}: {'autoencoder' if alone else found.kind} from {origin.format}. Next: {fit}")


def export(
    generator: GeneratorOption,
    out: CopyOption,
    form: CopyFormatOption = None,
) -> None:
    """Write a generator without any code for the software of others; users' copies: `latentfp users export`.

    Example: latentfp export --generator avatars --format rosinality --out avatars.pt
    """
    from latentfp.deployment.copies import export_generator

    written = export_generator(generator, out=out, form=form)
    typer.echo(f"{out}: {generator} without a code, format {written}")


def generate(
    deployment: DeploymentOption,
    user: Annotated[str, typer.Option(help="Whose copy makes the images.")],
    count: Annotated[int, typer.Option(min=1, help="How many images.")],
    out: Annotated[Path, typer.Option(help="The folder for the files; made if needed.")],
    seed: Annotated[
        int | None, seed_option("Makes the result repeatable; drawn and shown if left out.")
    ] = None,
    image_format: Annotated[ImageFormat, typer.Option("--format")] = ImageFormat.PNG,
    generator: WhereOption = None,
) -> None:
    """Write images with a user's code, as USER-SEED-NUMBER.png. With its seed, an interrupted call goes on.

    Example: latentfp generate --deployment deployment --user alice --count 8 --out images
    """
    from latentfp.deployment.copies import generate_files
    from latentfp.deployment.deployment import open_deployment

    opened = open_deployment(deployment, generator=generator)
    seed = secrets.randbits(31) if seed is None else seed
    written = generate_files(opened, user=user, count=count, out=out, seed=seed, suffix=image_format)
    images = "1 image" if count == 1 else f"{count} images"
    there = f", {written.there} of them there already" if written.there else ""
    typer.echo(f"{images} of {user} in {out}, seed {seed}{there}")


def adopt(
    decoder: Annotated[Path, typer.Argument(help="The folder that training wrote: WORKDIR/export.")],
    deployment: DeploymentOption,
    untested: Annotated[bool, typer.Option("--untested", help="Adopt it without a validation.")] = False,
    generator: WhereOption = None,
) -> None:
    """Give a deployment a decoder, in place of the one that it has.

    It is tried first on 16 undamaged images of the deployment: one that misleads the descents is refused.
    A minute on 2 CPU cores.

    Example: latentfp adopt --deployment deployment runs/decoder/export
    """
    from latentfp.deployment import calibration, decoders
    from latentfp.deployment.deployment import open_deployment

    opened = open_deployment(deployment, generator=generator)
    if not untested:
        typer.echo(str(calibration.validated(opened, decoder)))
    adopted = decoders.adopt(opened, decoder)
    typer.echo(f"{deployment}: decoder {adopted.sha256[:12]}, {adopted.iterations} iterations")


def calibrate(
    deployment: DeploymentOption,
    images: Annotated[int, typer.Option(min=20, help="How many; 1000 support the limit of 0.001.")] = 1000,
    seed: Annotated[int, seed_option("Of images, codes and attacks.")] = 0,
    generator: WhereOption = None,
) -> None:
    """Measure how well the deployment's own images are explained, and their codes read, through all attacks.

    `attribute` then knows of a file that runs to the last stage how likely one of the deployment's own is to
    fit as badly, and names nobody below 0.001; and how likely to be read as badly, and says none below that.
    Once for every decoder; a second or two an image on 2 CPU cores.

    Example: latentfp calibrate --deployment deployment
    """
    from latentfp.deployment import calibration
    from latentfp.deployment.deployment import open_deployment

    opened = open_deployment(deployment, generator=generator)
    typer.echo(str(calibration.calibrate(opened, images=images, seed=seed)))


def demo(
    out: Annotated[Path, typer.Option(help="The folder to make.")] = Path("demo"),
    user_count: Annotated[int, typer.Option("--users", min=1, help="How many users.")] = 6,
    image_count: Annotated[int, typer.Option("--images", min=1, help="Images of each user.")] = 3,
    generator: GeneratorOption = "avatars",
    sigma: SigmaOption = None,
    seed: Annotated[int, seed_option("Of everything that is drawn.")] = 0,
) -> None:
    """All of it: fit, register, generate, damage, attribute; writes report.html and report.json.

    Example: latentfp demo --out demo --users 6 --images 3
    """
    from latentfp.report.demo import write_page
    from latentfp.studies import demo as study

    record = study.run(out, users=user_count, images=image_count, generator=generator, sigma=sigma, seed=seed)
    typer.echo(f"{study.summary(record)}\npage: {write_page(out, record)}")
