"""The command `rbox-serve`."""
