"""Which models there are, on which data, and how a config is read and made ready."""
