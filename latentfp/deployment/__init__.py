"""What lives on disk: a generator's fingerprint space and its registry of users."""
