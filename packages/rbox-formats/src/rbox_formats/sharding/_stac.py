"""The images of a STAC item collection, read as the JSON file that it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rbox_formats import files
from rbox_formats.errors import ManifestError, quoted
from rbox_formats.sharding import _remote
from rbox_formats.sharding._manifest import Located

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")
# Which asset of an item is its image, in this order, where none is named.
_KEYS = ("visual", "image", "data")


def read_stac(path: str | Path, asset: str | None = None, *, remote: bool = False) -> list[Located]:
    """Read the images of a STAC item collection, or of one item.

    >>> read_stac("items.json")  # doctest: +SKIP
    [Located(image_id='S2A_33UUP', path=PosixPath('tiles/S2A_33UUP.tif'), size=(10980, 10980))]

    Args:
        path: The JSON file.
        asset: The key of the asset that is the image. None: "visual", "image" or "data", else the only one with the
            role "data" or "visual", else the only one.
        remote: Whether assets may be on other machines, by their addresses.

    Returns:
        Of each item its id, its file, relative to the JSON file where it is not absolute, and its size (width, height)
        by `proj:shape`; None where that is not given.

    Raises:
        ManifestError: If the file is no collection of items, an item does not say which of its assets is the image, or
            that one is on another machine and must not be, or cannot be read from there.
    """
    path = files.as_path(path, ManifestError)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ManifestError(f"expected a STAC item collection, got: {str(error)[:200]}", path=path) from error
    items = found.get("features", [found]) if isinstance(found, dict) else None
    if not isinstance(items, list) or not all(_is_item(item) for item in items):
        raise ManifestError(
            "expected a STAC item collection: a FeatureCollection whose features have assets",
            path=path,
            remedy="A search of a STAC API answers one, and so does pystac's ItemCollection.",
        )
    found = [_image(item, asset, path) for item in items]
    _remote.require_consent([where for _, where, _ in found if isinstance(where, str)], path, remote=remote)
    return found


def _is_item(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("id"), str) and isinstance(item.get("assets"), dict)


def _image(item: Mapping[str, Any], asset: str | None, path: Path) -> Located:
    image_id = files.safe_name(item["id"], path)
    found = _asset(item, asset, path)
    href = found.get("href") if isinstance(found, dict) else None
    if not isinstance(href, str) or not href:
        raise ManifestError(f"expected an asset with a href in item {quoted(image_id)}", path=path)
    properties = item.get("properties")
    shape = found.get("proj:shape") or (properties.get("proj:shape") if isinstance(properties, dict) else None)
    is_shape = isinstance(shape, list) and len(shape) == 2 and all(type(side) is int and side > 0 for side in shape)
    size = (shape[1], shape[0]) if is_shape and shape is not None else None
    return Located(
        image_id,
        _remote.checked(href, path) if _ADDRESS.match(href) or _remote.is_address(href) else path.parent / href,
        size,
    )


def _asset(item: Mapping[str, Any], asset: str | None, path: Path) -> Any:
    assets: dict[str, Any] = item["assets"]
    if asset is None:
        for key in _KEYS:
            if key in assets:
                return assets[key]
        by_role = [each for each in assets.values() if {"data", "visual"} & set(_roles(each))]
        for candidates in (by_role, list(assets.values())):
            if len(candidates) == 1:
                return candidates[0]
    elif asset in assets:
        return assets[asset]
    raise ManifestError(
        f"expected one asset to be the image of item {quoted(item['id'])}, got {', '.join(map(quoted, assets))}",
        path=path,
        remedy="Name it: --asset.",
    )


def _roles(asset: Any) -> list[str]:
    roles = asset.get("roles") if isinstance(asset, dict) else None
    return [role for role in roles if isinstance(role, str)] if isinstance(roles, list) else []
