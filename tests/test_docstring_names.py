"""Every name of ours that a docstring mentions exists, and a public one mentions none that is private.

Read from the sources, so that nothing need be imported: what stands in backticks and looks like a name or a dotted path
is looked up where it is said, from inside out: in the function, the class with its bases, the module, the packages.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(ROOT.glob("packages/*/src"))
_NAME = re.compile(r"(?<![`\w])`(\.?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\([^`]*\))?`(?!`)")
_FILE = re.compile(r".*\.(bin|csv|json|jsonl|md|png|py|pth|toml|tsv|txt|xml|yaml|zip)")

# Libraries that code of ours may not import where its docstrings name something of theirs.
LIBRARIES = {"BoxMode", "COCOeval", "OrientedDetEvalDataset", "OrientedDetSFTDataset", "ImageOps"}

# Names of other libraries, of their files and formats; and words for figures whose names hold a number.
FOREIGN = {
    *("Affine", "Detections", "MeanAveragePrecision", "sync_on_compute", "xywhr2xyxyxyxy", "xyxy"),
    *("ClassBalancedDataset", "GDLoss_v1", "BCConvexGIoULoss", "RandomRotate", "grid_sample"),
    *("diff_thr", "eval_rbbox_map", "get_model_complexity_info", "img_rate_thr", "norm_eval"),
    *("results2json", "tpfp_default", "train_cfg"),
    *("_collate_fn_florence2", "bbox_and_angle_to_polygon", "dota_to_fair", "normalize_polygon", "obj_corner"),
    *("pred_to_json", "rbox2qbox", "rotatePoint", "rotate_bbox"),
    *("bytes_to_unicode", "image_newline", "named_modules", "named_parameters", "resize_positional_embeddings"),
    *(
        "ceil",
        "embedding_bag",
        "finfo",
        "fn",
        "import",
        "lastindex",
        "metadata_props",
        "pkg_resources",
        "pyplot",
        "torchrun",
    ),
    *("Neg", "Test", "Train"),
    *("annotation_result_from_task", "convert_annotation_to_yolo_obb", "convert_to_json_min", "coordinate_convert_r"),
    *("cvminAreaRect2longsideformat", "dump_as_cvat_annotation", "gpkg_geometry_columns", "gpkg_spatial_ref_sys"),
    *("load_anno", "load_annotations", "load_ori_annotations", "Results.save_txt", "save_conf"),
    *("contained", "trunc"),
    *("pycocotools.mask.frPyObjects", "rleFrPoly", "rleFrString"),
    *("Mamba", "rleToString"),
    *("macro", "mar_1", "mar_10", "mar_100", "mar_100_per_class", "mar_N", "mar_N_per_class"),
}


@dataclass
class Scope:
    """A module, class or function: its names, and what is documented in it."""

    path: str
    parent: Scope | None = None
    names: dict[str, Scope | str | None] = field(default_factory=dict)
    bases: list[str] = field(default_factory=list)
    docs: list[tuple[int, str]] = field(default_factory=list)
    words: set[str] = field(default_factory=set)
    public: bool = True
    starred: list[str] = field(default_factory=list)

    @property
    def module(self) -> Scope:
        return self if self.parent is None else self.parent.module


def words_of(node: ast.AST) -> set[str]:
    """The texts that code compares with, takes or gives: choices, keys and figures."""
    return {value.value for value in ast.walk(node) if isinstance(value, ast.Constant) and isinstance(value.value, str)}


def add(scope: Scope, body: list[ast.stmt]) -> None:
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        scope.docs.append((body[0].lineno, str(body[0].value.value)))
    for before, node in zip([None, *body], body, strict=False):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            inner = Scope(f"{scope.path}.{node.name}", scope, public=scope.public and not node.name.startswith("_"))
            scope.names.setdefault(node.name, inner)
            if isinstance(node, ast.ClassDef):
                inner.bases = [ast.unparse(base) for base in node.bases]
            else:
                every = (
                    *node.args.posonlyargs,
                    *node.args.args,
                    *node.args.kwonlyargs,
                    node.args.vararg,
                    node.args.kwarg,
                )
                inner.names |= {argument.arg: None for argument in every if argument}
                inner.words |= words_of(ast.Module([*node.body[1:]], []))
            add(inner, node.body)
        elif isinstance(node, ast.Import):
            scope.names |= {
                a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0]
                for a in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            scope.names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if ast.unparse(targets[0]) == "__all__":
                scope.starred = ast.literal_eval(node.value)
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        scope.names.setdefault(name.id, None)
                    elif isinstance(name, ast.Attribute) and scope.parent and ast.unparse(name.value) == "self":
                        scope.parent.names.setdefault(name.attr, None)
        elif isinstance(node, ast.Expr) and isinstance(before, ast.Assign | ast.AnnAssign):
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                scope.docs.append((node.lineno, node.value.value))
        else:
            for child in ("body", "orelse", "finalbody"):
                add_block(scope, getattr(node, child, []))


def add_block(scope: Scope, body: list[ast.stmt]) -> None:
    before = len(scope.docs)
    add(scope, body)
    del scope.docs[before:]  # a text at the top of a block documents nothing


@cache
def modules() -> dict[str, Scope]:
    found: dict[str, Scope] = {}
    for source in SOURCES:
        for path in sorted(source.rglob("*.py")):
            parts = [part for part in path.relative_to(source).with_suffix("").parts if part != "__init__"]
            name = ".".join(parts)
            tree = ast.parse(path.read_text())
            scope = found[name] = Scope(name, public=not any(part.startswith("_") for part in parts))
            add(scope, tree.body)
            scope.words = words_of(tree)
    for name, scope in found.items():
        above, _, last = name.rpartition(".")
        if above in found:
            found[above].names.setdefault(last, scope)
    return found


def follow(value: Scope | str | None, seen: frozenset[str] = frozenset()) -> Scope | str | None:
    """What an import means: one of our scopes, or None for what is not ours, "" for what there is not."""
    while isinstance(value, str):
        if value in seen:
            return None
        seen |= {value}
        if value in modules():
            return modules()[value]
        above, _, last = value.rpartition(".")
        if above not in modules():
            return None
        if last not in modules()[above].names:
            return ""
        value = modules()[above].names[last]
    return value


def member(scope: Scope, name: str) -> tuple[bool, Scope | str | None]:
    """Whether a scope, or a base of a class, has a name, and what that is."""
    if name in scope.names:
        return True, follow(scope.names[name])
    for base in scope.bases:
        value = resolve(base.partition("[")[0], scope.parent)[1]
        if isinstance(value, Scope):
            found, inner = member(value, name)
            if found:
                return True, inner
    return False, None


def resolve(dotted: str, scope: Scope | None) -> tuple[bool, Scope | str | None]:
    """Whether a dotted name is one where it is said, from inside out, and what it is."""
    first, *rest = dotted.split(".")
    found, value = False, None
    while scope is not None and not found:
        found, value = member(scope, first)
        scope = scope.parent
    if not found:
        if first not in modules():
            return False, None
        value = modules()[first]
    for name in rest:
        if not isinstance(value, Scope):
            return True, None  # of another library, or a value
        found, inner = member(value, name)
        if not found:
            return any(
                not isinstance(resolve(base.partition("[")[0], value.parent)[1], Scope) for base in value.bases
            ), None
        value = inner
    return value != "", value


@cache
def known() -> dict[str, Scope | None]:
    """What anyone may mention without saying where it is: our names, and the texts that code takes and gives."""
    names: dict[str, Scope | None] = dict.fromkeys(dir(builtins))
    for module in modules().values():
        names |= dict.fromkeys(module.words)
    for scope in scopes():
        names |= {name: None for name in scope.names if name not in names}
    for module in modules().values():
        values = {name: follow(value) for name, value in module.names.items()}
        names |= {name: value for name, value in values.items() if isinstance(value, Scope)}
    return names | {name: scope for name, scope in modules().items() if "." not in name}


def exists(name: str, scope: Scope) -> bool:
    found = resolve(name, scope)[0]
    if found or "." not in name:
        return found or name in known()
    first, rest = name.split(".", 1)
    outer = known().get(first, "")
    return outer is None or (isinstance(outer, Scope) and resolve(rest, outer)[0])


def scopes() -> Iterator[Scope]:
    stack = [*modules().values()]
    while stack:
        scope = stack.pop()
        yield scope
        stack += [inner for inner in scope.names.values() if isinstance(inner, Scope) and inner.parent is scope]


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def mark(scope: Scope) -> None:
    scope.public = True
    for name, inner in scope.names.items():
        if not name.startswith("_") and isinstance(inner, Scope) and inner.parent is scope:
            mark(inner)


def public_scopes() -> list[Scope]:
    for module in modules().values():
        if module.public:
            for name in [*module.starred]:
                value = follow(module.names.get(name))
                if isinstance(value, Scope):
                    mark(value)
    return [scope for scope in scopes() if scope.public]


@cache
def mentions() -> list[tuple[Scope, str, str]]:
    """Each scope, the place of a docstring of its, and a name that stands in it."""
    return [
        (scope, f"{scope.path}, line {line} on", match[1].strip("."))
        for scope in scopes()
        for line, text in scope.docs
        for match in _NAME.finditer(text)
        if not _FILE.fullmatch(match[1])
    ]


@pytest.mark.slow
def test_names_in_docstrings_exist() -> None:
    assert not {
        place: name
        for scope, place, name in mentions()
        if not exists(name, scope) and name not in FOREIGN and name.partition(".")[0] not in LIBRARIES
    }


def test_public_docstrings_name_nothing_private() -> None:
    public = {scope.path for scope in public_scopes()}
    assert not {place: name for scope, place, name in mentions() if scope.path in public and is_private(name)}


def test_foreign_names_are_mentioned_and_not_ours() -> None:
    """So that the list stays as short as it can be."""
    foreign = {name for scope, _, name in mentions() if not exists(name, scope)}
    assert not FOREIGN - foreign
    assert not LIBRARIES - {name.partition(".")[0] for name in foreign}


@pytest.mark.parametrize(
    "name, there",
    [
        ("convert", True),
        ("Codec.decode", True),
        ("Codec.decod", False),
        ("tiling.windows", True),
        ("tiling.windos", False),
        ("rbox_metrics.Sweep.best", True),
        ("rbox_metrics.Sweep.worst", False),
        ("LMMROTATE_THRESHOLDS", False),
    ],
)
def test_a_misspelt_name_is_found_out(name: str, there: bool) -> None:
    assert exists(name, modules()["rbox_formats"]) is there
