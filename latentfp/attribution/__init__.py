"""From an image to a verdict: estimating the code, and judging it."""
