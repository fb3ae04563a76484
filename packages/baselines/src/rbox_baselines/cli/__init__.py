"""The command `rbox-baselines`: `main`, and a file for each subcommand."""
