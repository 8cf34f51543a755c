"""latentfp: latent fingerprints that make image generators accountable.

Every user's copy of a generator marks its images with that user's code, written along minor principal
axes of the latent space; an image file alone then names the user. Method: Nie, Kim, Yang, Ren,
"Attributing Image Generative Models using Latent Fingerprints", ICML 2023 (arXiv 2304.09752).
"""

__version__ = "0.1.0"
