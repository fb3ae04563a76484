"""The config of MMRotate's zoo that a short name means."""

from __future__ import annotations

import re

from rbox_baselines._configs._names import nearest
from rbox_baselines._configs._zoo import zoo
from rbox_baselines.errors import ConfigError

# Configs of one model for other data, or for several scales: meant by their whole names alone.
_BESIDE = re.compile(r"(dota[_-]ms|dior|dotav15|dotav2|hrsc|hrsid|rsdd|srsdd|ssdd)$")


def config_named(name: str) -> str:
    """Return the config that a name means: the whole name, or its first words where they are those of one config.

    Case does not count, nor does the word "rotated"; "-" and "_" are the same. "rtmdet_tiny" is
    "rotated_rtmdet_tiny-3x-dota".

    Args:
        name: The name, such as "rtmdet_tiny" or "oriented_rcnn-le90_r50_fpn_1x_dota".

    Raises:
        ConfigError: If it is of none, or of several.
    """
    known = list(zoo())
    wanted = _words(name)
    whole = [each for each in known if each == name] or [each for each in known if _words(each) == wanted]
    if len(whole) == 1:
        return whole[0]
    found = [each for each in known if _words(each)[: len(wanted)] == wanted and not _BESIDE.search(each)]
    if wanted and len(found) == 1:
        return found[0]
    if wanted and found:
        shown = ", ".join(found[:8]) + (f", and {len(found) - 8} more" if len(found) > 8 else "")
        raise ConfigError(f"expected the name of one model, got {name!r}, which begins the names of {shown}")
    begins = {"_".join(_words(each)[: len(wanted)]) for each in known}
    near = nearest("_".join(wanted), begins) or nearest(name, known)
    raise ConfigError(
        f"expected a model of MMRotate's zoo, got {name!r}",
        remedy=f"{near} `rbox-baselines train --list` names all of them.".strip(),
    )


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[-_]", name.lower()) if word and word != "rotated"]
