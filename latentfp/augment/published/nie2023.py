"""The post-processes of Nie et al., ICML 2023, and the crop of Kim et al. 2021.

none
blur          0.5 pixels, 25 taps
noise         of std 0.1 on [-1, 1], 0.05 on [0, 1]
jpeg          quality 50: real libjpeg (4:2:0) in place of the differentiable one
combination   blur → noise → 8 bits → JPEG, at the same strengths
crop          the centre, 0.8 of each side, resized back: the strongest of Kim et al.
"""

from latentfp.augment import steps
from latentfp.augment.attacks import Attack, edited, in_order

COMBINATION = in_order(edited(steps.blur(0.5), steps.noise(0.05)), steps.jpeg(50))
NIE2023 = (
    Attack("none", steps.nothing()),
    Attack("blur", edited(steps.blur(0.5))),
    Attack("noise", edited(steps.noise(0.05))),
    Attack("jpeg", steps.jpeg(50)),
    Attack("combination", COMBINATION),
    Attack("crop", edited(steps.crop(0.8))),
)
