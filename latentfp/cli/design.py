"""What a provider asks before fitting: which axes, how many bits, what strength."""

from pathlib import Path
from typing import Annotated

import typer

from latentfp.cli.options import GeneratorOption, seed_option


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
    loaded, asked = (
        pretrained.load(generator),
        {"target": target_accuracy, "attacks": attack, "bits": lengths},
    )
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
