"""Try the configs of a project built on MMRotate 1.x and mmdet 3.x: each model once, on random weights and one image.

    python tools/try_configs.py --project ai4rs --out docs/baselines-ai4rs.md
    python tools/try_configs.py --project ai4rs --config 'projects/*/configs/*_dota.py' --limit 600 --out page.md

A model is built, learns from one synthetic image (losses, then gradients) and predicts on it, on the CPU, with the
operators of rbox_baselines. Each config is tried in a process of its own, which ends at the limit: the project's code
runs there, and may crash. What comes of it is kept beside the page (page.json) after each: a stopped run is resumed,
and configs that ran out of time are tried again where the limit is higher. Weights from elsewhere are left out. It
shows that every part of a model runs, not that its values are right.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click
from _trials import kept, table, versions
from rbox_baselines._configs._trial import STEPS, Outcome
from rbox_formats import files

#: What a model does, by the number of steps that it passed.
DOES = ("is not built", "is built", "has losses", "learns", "learns and predicts")
OUT_OF_TIME, NO_MODEL = "out of time", "no model"
VERSIONED = ("torch", "mmengine", "mmcv", "mmdet")
LONGEST = 160  # of a reason in the table

PAGE = """\
<!-- Written by tools/try_configs.py: change that, or try again. -->

# Configs of {name}, tried

{summary}

{how}

{versions}

```
{command}
```
{notes}"""

HOW = """
Each was tried once, in a process of its own, for {limit} s at most, on the CPU, with mmcv's operators from
rbox_baselines: the model is built with random weights, learns from one synthetic image of {size} x {size} px
(its losses are finite, so are all gradients, and not all are 0), and predicts boxes on it. This shows that every part
of a model runs; it does not show that values are right.
"""

VERSIONS = """
{project}; {versions}; mmrotate is the one that the project imports. To try all its configs, in an environment with
these and with what the project itself requires (`--config PATH` chooses some):
"""


@click.command()
@click.option("--project", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--config", "patterns", multiple=True, help="Paths in the project, with * for anything; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The page, in Markdown.")
@click.option("--limit", default=300.0, show_default=True, help="Seconds for a config.")
@click.option("--size", default=256, show_default=True, help="Side of the image in pixels, a multiple of 32.")
@click.option("--note", "notes", multiple=True, help="A paragraph for the page, kept for later runs; may be repeated.")
@click.option("--anew", is_flag=True, help="Try all configs, not only those that were not tried yet.")
@click.option("--one", type=Path, hidden=True)
@click.option("--into", type=Path, hidden=True)
def main(
    project: Path,
    patterns: tuple[str, ...],
    out: Path,
    limit: float,
    size: int,
    notes: tuple[str, ...],
    anew: bool,
    one: Path | None,
    into: Path | None,
) -> None:
    """Try configs of a project in another folder, and write a table of what came of each.

    Code of the project is run. By default these are all Python files in folders named `configs`, except those in
    `_base_`; files without a model are left out of the table.
    """
    if one is not None and into is not None:
        try_here(project, one, size, into)
        return
    configs = [
        path for path in configs_of(project) if not patterns or any(fnmatchcase(path, each) for each in patterns)
    ]
    if not configs:
        raise click.ClickException(
            f"expected configs in {project}, found none that match {patterns or 'configs/**/*.py'}"
        )
    commit = commit_of(project)
    setup = {"size": size, "commit": commit, **versions(*VERSIONED)}
    results = out.with_suffix(".json")
    found = kept(results, setup, anew=anew)
    found["notes"] = list(notes) or found.get("notes", [])
    for config in configs:
        if is_settled(found["models"].get(config), limit):
            continue
        entry = try_apart(project, config, size, limit)
        click.echo(f"{config}: {what(entry)} {entry['reason'] or ''}".rstrip())
        found["models"][config] = entry
        found["models"] = dict(sorted(found["models"].items()))
        files.write_text(results, json.dumps(found, indent=1) + "\n")
    files.write_text(results, json.dumps(found, indent=1) + "\n")
    files.write_text(out, page(project.resolve().name, found, out))


def configs_of(project: Path) -> list[str]:
    """Return what may be a config: Python files in folders named `configs`, by their paths in the project."""
    paths = (path.relative_to(project) for path in project.rglob("*.py"))
    return sorted(
        path.as_posix()
        for path in paths
        if "configs" in path.parts[:-1] and "_base_" not in path.parts and path.name != "__init__.py"
    )


def commit_of(project: Path) -> str | None:
    """Return the commit that a checkout is at, and `+` where files differ from it; None where it is no checkout."""
    head, status = (
        subprocess.run(["git", "-C", str(project), *words], capture_output=True, text=True)
        for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    )
    return None if head.returncode else head.stdout.strip() + ("+" if status.stdout.strip() else "")


def is_settled(entry: dict[str, Any] | None, limit: float) -> bool:
    """Return whether a config need not be tried: it was, and not with too little time."""
    return entry is not None and not (entry["ended"] == OUT_OF_TIME and entry["limit"] < limit)


def try_apart(project: Path, config: str, size: int, limit: float) -> dict[str, Any]:
    """Try a config in a new process, and return what came of it, whatever became of that process."""
    with tempfile.TemporaryDirectory() as folder:
        into, log = Path(folder, "outcome.json"), Path(folder, "log")
        command = [sys.executable, __file__, "--project", str(project), "--out", os.devnull, "--size", str(size)]
        command += ["--one", config, "--into", str(into)]
        start = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
            try:
                process.wait(limit)
                reason = None
            except subprocess.TimeoutExpired:
                reason = f"not done after {limit:g} s"
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # it, and what it started
                process.wait()
        entry = dataclasses.asdict(Outcome())
        if into.is_file():
            entry |= json.loads(into.read_text(encoding="utf-8"))
        ended = entry.pop("ended", None)
        if reason is not None:
            ended = OUT_OF_TIME
        elif ended is None:
            last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"])[-1]
            ended, reason = "crashed", f"exit code {process.returncode}: {last}"
        reason = reason or entry["reason"]
        if reason is not None:
            reason = reason.replace(f"{project.resolve()}{os.sep}", "")
        entry |= {"reason": reason, "seconds": round(time.monotonic() - start, 1)}
        return {**entry, "ended": ended, "limit": limit}


def try_here(project: Path, config: str | Path, size: int, into: Path) -> None:
    """Try a config in this process, and keep what has come of it so far in a file."""
    for outcome, ended in outcomes_of(project.resolve(), config, size):
        files.write_text(into, json.dumps({**dataclasses.asdict(outcome), "ended": ended}))


def outcomes_of(project: Path, config: str | Path, size: int) -> Iterator[tuple[Outcome, str | None]]:
    """Yield what has come of a config after each step, and how it ended: None as long as it has not."""
    sys.path.insert(0, str(project))  # its own packages, and its own mmrotate where it has one
    os.chdir(project)  # where its configs look for files
    from rbox_baselines._configs._trial import outcomes, reason_of
    from rbox_baselines._stack import _mends

    _mends.silence()
    try:
        from mmengine.config import Config
        from rbox_baselines._configs._load import set_up

        set_up()
        read = Config.fromfile(config)
    except Exception as error:  # a config is a program: whatever it raises
        yield Outcome(reason=reason_of(error)), "not read"
        return
    if "model" not in read:
        yield Outcome(), NO_MODEL
        return
    outcome = Outcome()
    for outcome in outcomes(read, size=size):
        yield outcome, None
    yield outcome, "tried"


def what(entry: dict[str, Any]) -> str:
    """Return in a few words what came of a config."""
    if entry["ended"] in ("tried", NO_MODEL):
        return DOES[len(entry["passed"])] if entry["ended"] == "tried" else NO_MODEL
    so_far = f" ({DOES[len(entry['passed'])]})" if entry["passed"] else ""
    return f"{entry['ended']}{so_far}"


def page(name: str, found: dict[str, Any], out: Path) -> str:
    """Return the whole page."""
    setup, models = found["setup"], {path: each for path, each in found["models"].items() if each["ended"] != NO_MODEL}
    limit = max((each["limit"] for each in models.values()), default=0)
    text = PAGE.format(
        name=name,
        summary=summary(models.values()),
        how=filled(HOW.format(limit=f"{limit:g}", size=setup["size"])),
        versions=filled(
            VERSIONS.format(
                project=f"{name} at commit {setup['commit']}" if setup["commit"] else name,
                versions=", ".join(f"{package} {setup[package]}" for package in VERSIONED),
            )
        ),
        command=f"python tools/try_configs.py --project {name} --out {out.name}",
        notes="".join(f"\n{filled(note)}\n" for note in found["notes"]),
    )
    rows = (
        [f"`{path}`", what(each), shortened(each["reason"]), f"{each['seconds']:.0f}"] for path, each in models.items()
    )
    return "\n".join([text.rstrip(), *table(["config", "what happened", "reason", "seconds"], rows)]).strip() + "\n"


def filled(text: str) -> str:
    """Return a paragraph in lines of the length that the other pages have."""
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False, break_long_words=False)


def summary(entries: Iterable[dict[str, Any]]) -> str:
    """Return one line: how many learn and predict, and what became of the others."""
    entries = list(entries)
    whole = sum(tuple(each["passed"]) == STEPS for each in entries)
    others = Counter(
        "ran out of time" if each["ended"] == OUT_OF_TIME else "failed"
        for each in entries
        if tuple(each["passed"]) != STEPS
    )
    parts = [f"{whole} learn and predict", *(f"{count} {kind}" for kind, count in sorted(others.items()))]
    return f"**Of {len(entries)} configs {', '.join(parts)}.**"


def shortened(reason: str | None) -> str:
    """Return a reason as a cell of a table: one line, not too long."""
    return textwrap.shorten(reason or "", LONGEST, placeholder=" ...").replace("|", "\\|")


if __name__ == "__main__":
    main()
