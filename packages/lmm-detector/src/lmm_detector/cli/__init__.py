"""The command `lmm-detector`: `main`, and a file for each subcommand."""
