#!/bin/bash
# The platform starts the image without a command; its verifier calls this file by name.
# As any user: what libraries cache goes to the output folder, the only one that may be written to.
export HOME="${RBOX_CACHE:-/out/cache}"
export MPLCONFIGDIR="$HOME" NUMBA_CACHE_DIR="$HOME/numba" HF_HOME="$HOME/hf" TORCH_HOME="$HOME/torch" TMPDIR="$HOME"
mkdir -p "$HOME"
exec rbox-baselines ymir
