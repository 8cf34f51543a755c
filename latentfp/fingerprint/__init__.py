"""The fingerprint space: principal axes, codes, and writing a code into a latent."""
