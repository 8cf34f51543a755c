"""Post-processes that an image may have gone through, and named suites of them."""
