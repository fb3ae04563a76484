"""Count what imports what in the packages: modules, arrows, circles, rooms, and imports of another's private modules.

An import in a function, or for annotations alone, counts. `hatch run layers` holds the order; this shows it:

    hatch run python tools/import_graph.py [--root CHECKOUT]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import click
import grimp
import networkx
from rich.console import Console
from rich.table import Table

PACKAGES = {
    "rbox_formats": "rbox-formats",
    "rbox_metrics": "rbox-metrics",
    "lmm_detector": "lmm-detector",
    "rbox_baselines": "baselines",
    "rbox_serve": "serve",
}


@click.command()
@click.option("--root", type=Path, default=Path(__file__).parents[1], help="The checkout. [default: this one]")
def main(root: Path) -> None:
    """Print a table of the packages, then each circle and each private import across packages."""
    for folder in PACKAGES.values():
        sys.path.insert(0, str(root / "packages" / folder / "src"))
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    arrows = networkx.DiGraph((one, other) for one in graph.modules for other in _imported(graph, one))
    console, table = Console(), Table("package", "modules", "flat", "arrows", "rooms", "floors", "circles")
    circles: list[list[str]] = []
    for package in PACKAGES:
        modules = {name for name in graph.modules if _package(name) == package}
        inside = arrows.subgraph(modules)
        own_circles = [sorted(circle) for circle in networkx.strongly_connected_components(inside) if len(circle) > 1]
        circles += own_circles
        rooms = _rooms(inside, package)
        flat = sum(not graph.find_children(f"{package}.{room}") for room in rooms.nodes)
        counts = (len(modules), flat, inside.number_of_edges(), len(rooms), _floors(rooms), len(own_circles))
        table.add_row(package, *map(str, counts))
    console.print(table)
    console.print("flat: modules outside of any folder; rooms: folders and such modules; floors: the longest way down")
    for circle in circles:
        console.print("circle:", " ".join(circle))
    for one, other in sorted(arrows.edges):
        if _package(one) != _package(other) and _is_private(other):
            console.print(f"private: {one} -> {other}")


def _imported(graph: grimp.ImportGraph, module: str) -> set[str]:
    return graph.find_modules_directly_imported_by(module)


def _package(module: str) -> str:
    return module.partition(".")[0]


def _is_private(module: str) -> bool:
    return any(part.startswith("_") for part in module.split("."))


def _rooms(inside: networkx.DiGraph, package: str) -> networkx.DiGraph:
    """Return the arrows between what stands directly in the package; its own `__init__` is none of them."""
    room: dict[str, str] = {name: name.split(".")[1] for name in inside.nodes if name != package}
    between: dict[str, set[str]] = defaultdict(set)
    for one, other in inside.edges:
        if one != package and other != package and room[one] != room[other]:
            between[room[one]].add(room[other])
    return networkx.DiGraph({name: between[name] for name in set(room.values())})


def _floors(rooms: networkx.DiGraph) -> int:
    """Return how many rooms the longest way down passes; those of a circle as one."""
    return networkx.dag_longest_path_length(networkx.condensation(rooms)) + 1


if __name__ == "__main__":
    main()
