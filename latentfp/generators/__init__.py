"""Image generators behind one interface (`generator.Generator`)."""
