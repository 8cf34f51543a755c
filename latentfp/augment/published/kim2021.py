"""The mixture of Kim, Ren and Yang 2021, *Decentralized Attribution of Generative Models*.

    blur 3 pixels, 25 taps → centre crop to 0.8 of each side → noise of std 0.1 on [-1, 1] → 8 bits → JPEG 75

The strongest of each training range, as in their tests; the blur is in pixels whatever the size of the image.
"""

from latentfp.augment import steps
from latentfp.augment.attacks import Attack, edited, in_order

KIM2021 = Attack(
    "Kim 2021", in_order(edited(steps.blur(3.0), steps.crop(0.8), steps.noise(0.05)), steps.jpeg(75))
)
