"""What a detector runs on."""

from __future__ import annotations

from rbox_formats.errors import quoted, said

from rbox_baselines.errors import ConfigError


def check_device(device: str | None) -> str:
    """Return the device asked for, or the best that there is; looked for before anything is read.

    Raises:
        ConfigError: If it is not there, or full.
    """
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"expected a device such as cpu or cuda:0, got {quoted(device)} ({said(error)})") from error
    return device
