"""A training run: everything checked first, then mmengine."""
