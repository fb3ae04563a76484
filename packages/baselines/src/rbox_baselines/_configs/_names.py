"""Names that the user may have meant."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Return a sentence with the known names that are nearest to an unknown one; empty where none is near.

    Packages in front of a name, up to a dot, do not count.

    >>> nearest("RotatedRetinaHaed", ["RotatedRetinaHead", "FPN"])
    "Near to it is 'RotatedRetinaHead'."
    """
    from rapidfuzz import fuzz, process

    plain = {each: each.rpartition(".")[2] for each in sorted(known)}
    query = name.rpartition(".")[2]
    found = [near for _, _, near in process.extract(query, plain, scorer=fuzz.ratio, limit=count, score_cutoff=60)]
    if not found:
        return ""
    return f"Near to it {'is' if len(found) == 1 else 'are'} {', '.join(map(repr, found))}."
