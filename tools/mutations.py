"""Measures how much the tests notice: changes one place of the packages' sources at a time, and runs the tests of it.

    python tools/mutations.py --map                          # once for each state of the sources: what covers what
    python tools/mutations.py --out before.json              # 80 mutations; the same command resumes a stopped run
    python tools/mutations.py --like before.json --out after.json      # the same ones, where sources have moved since
    python tools/mutations.py --out before.json --again survivors --marker slow --limit 1800

It needs the environment of the workspace, and in it coverage (7.10 or newer), which only this script uses:
`pip install coverage`. Everything runs in copies of the workspace in the folder for temporary files, which come first
on PYTHONPATH: the sources here stay unchanged, whenever it is stopped. What was measured is kept in `.mutations`.

Tests that fail without a mutation catch nothing: those that caught something are run again at the end on unchanged
sources. A caught mutation names the first test that failed; "timeout" says that the limit was reached.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
import psutil
from _mutants import Mutant, candidates, draw, identity_of, shuffled
from _mutation_map import COVERAGE, Chooser, Map, digest

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".mutations"
PROBE = "_mutation_probe"
RUNNING: set[subprocess.Popen] = set()
#: Of the time limit, what the chosen tests may take by the map.
SHARE = 1 / 3


@click.command()
@click.option("--count", default=80, show_default=True, help="Mutations to draw.")
@click.option("--seed", default=0, show_default=True, help="Of the draw.")
@click.option("--out", type=Path, default=CACHE / "result.json", help="The result. [default: .mutations/result.json]")
@click.option("--like", type=click.Path(exists=True, path_type=Path), help="Draw what this earlier result has.")
@click.option("--map", "only_map", is_flag=True, help="Measure which tests run which lines, and no more.")
@click.option("--marker", default="not slow", show_default=True, help="Of tests, as for pytest's -m.")
@click.option("--again", type=click.Choice(["survivors"]), help="Run these mutations of the result again.")
@click.option("--tests", "most", default=150, show_default=True, help="The limit on tests for a mutation.")
@click.option("--limit", default=300.0, show_default=True, help="Seconds for a mutation.")
@click.option("--jobs", default=1, show_default=True, help="Processes of pytest at a time.")
def main(
    count: int,
    seed: int,
    out: Path,
    like: Path | None,
    only_map: bool,
    marker: str,
    again: str | None,
    most: int,
    limit: float,
    jobs: int,
) -> None:
    """Measure how many small changes of the sources the tests notice."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutations-", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        try:
            if only_map:
                make_map(work, marker, jobs)
                return
            result = load_result(out, count, seed, like)
            chooser = Chooser(ROOT, load_map())
            settings = Settings(marker, most, limit, jobs)
            run_all(result, out, settings, chooser, work, again is not None)
            while drop_unreliable(result, out, work):
                run_all(result, out, settings, chooser, work, again is not None)
        except KeyboardInterrupt:
            for process in list(RUNNING):
                kill(process)
            shutil.rmtree(work, ignore_errors=True)
            os._exit(130)  # what threads were about to do is not to be written
    show(result, time.monotonic() - begin)


@dataclass(frozen=True)
class Settings:
    """How mutations are run."""

    marker: str
    most: int
    limit: float
    jobs: int


# Copies of the workspace, and pytest in them


def copy_workspace(tree: Path) -> None:
    """Return what git has or would take, with the times of the files."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(".mutations/"):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def pytest(
    tree: Path, work: Path, arguments: Sequence[str], limit: float | None = None, **variables: str
) -> tuple[int | None, list[dict], str]:
    """Run it in a copy: its exit code, None where time ran out; what the plugin noted; what it wrote."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "probe").mkdir(parents=True)
    shutil.copy2(Path(__file__).with_name(f"{PROBE}.py"), work / "probe")
    sources = sorted(str(path) for path in tree.glob("packages/*/src"))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COVERAGE_"))},
        "PYTHONPATH": os.pathsep.join([*sources, str(work / "probe")]),
        "OMP_WAIT_POLICY": "PASSIVE",
        "MUTATIONS_LOG": str(work / "log"),
        **variables,
    }
    options = ["-q", "-p", "no:cacheprovider", "-p", PROBE, "--hypothesis-seed=0", f"--basetemp={work / 'tmp'}"]
    command = [sys.executable, "-m", "pytest", *options, *arguments]
    (work / "log").touch()
    with (work / "output").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt is this script's alone
        )
    RUNNING.add(process)
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        kill(process)
        code = None
    RUNNING.discard(process)
    notes = [json.loads(line) for line in (work / "log").read_text(encoding="utf-8").splitlines()]
    text = (work / "output").read_text(encoding="utf-8", errors="replace")
    if code is not None and (code in (-signal.SIGKILL, -signal.SIGTERM) or "which is to be tested" in text):
        raise click.ClickException(f"pytest did not run to its end:\n{text[-3000:]}")
    return code, notes, text


def kill(process: subprocess.Popen) -> None:
    """End it and all that it started."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        for each in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()


# The map


def make_map(work: Path, marker: str, jobs: int) -> None:
    """Run the suite under coverage, a folder of tests at a time, and keep the copy for what Numba has compiled."""
    tree, coverage = work / "tree", work / "coverage"
    copy_workspace(tree)
    coverage.mkdir()
    (coverage / "rc").write_text(COVERAGE.format(folder=coverage, tree=tree), encoding="utf-8")
    folders = [path for path in [*sorted(tree.glob("packages/*/tests")), tree / "tests"] if path.is_dir()]
    notes: list[dict] = []

    def run(folder: Path) -> None:
        name = str(folder.relative_to(tree))
        begin = time.monotonic()
        here = work / name.replace("/", "-")
        arguments = ["-m", marker, name]
        code, found, text = pytest(tree, here, arguments, COVERAGE_PROCESS_START=str(coverage / "rc"))
        bad = [entry["test"] for entry in found if entry.get("outcome") == "failed"]
        if code not in (0, 1, 5):
            raise click.ClickException(f"expected tests in {name} to run, got:\n{text[-3000:]}")
        if bad:  # some tests do not go with coverage
            found += pytest(tree, here, ["-m", marker, *bad])[1]
        notes.extend(found)
        minutes = (time.monotonic() - begin) / 60
        passed = {entry["test"] for entry in found if entry.get("outcome") == "passed"}
        never = sorted({*bad} - passed)
        click.echo(f"{name}: {len(passed)} tests, {minutes:.1f} min; only with coverage fail {len(bad) - len(never)}")
        for test in never:
            click.echo(f"  fails, and will catch nothing: {test}")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, folders))
    measured = Map.measured(tree, marker, coverage, notes)
    if measured.digest != digest(ROOT):
        raise click.ClickException("the sources or tests have changed in the meantime; run with --map again")
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n", encoding="utf-8")
    shutil.rmtree(CACHE / "tree", ignore_errors=True)
    shutil.copytree(tree, CACHE / "tree", symlinks=True)
    measured.save(CACHE / "map.json.gz")
    click.echo(f"{len(measured.seconds)} tests, {sum(map(len, measured.lines.values()))} lines: {CACHE}")


def load_map() -> Map:
    if not (CACHE / "map.json.gz").is_file():
        raise click.ClickException("expected a map of the tests, got none; run with --map first")
    measured = Map.load(CACHE / "map.json.gz")
    if measured.digest != digest(ROOT):
        raise click.ClickException("expected a map of these sources and tests, got one of others; run with --map")
    return measured


# The result: a list of mutations, each with its runs


def load_result(out: Path, count: int, seed: int, like: Path | None) -> dict:
    """Load the result of an earlier run of the same command, or make a new one."""
    if out.is_file():
        result = json.loads(out.read_text(encoding="utf-8"))
        if result["digest"] != digest(ROOT):
            raise click.ClickException(f"{out} is of other sources or tests: choose another --out, and see --like")
        if not result["like"] and (result["count"], result["seed"]) != (count, seed):
            raise click.ClickException(f"{out} is of --count {result['count']} --seed {result['seed']}")
        return result
    found = candidates(ROOT)
    drawn = look_up(json.loads(like.read_text(encoding="utf-8")), found) if like else draw(found, count, seed)
    result = {
        **{"count": count, "seed": seed, "like": like and str(like), "digest": digest(ROOT), "unreliable": []},
        "mutations": [{**mutant.record(ROOT), "runs": []} for mutant in drawn],
    }
    write(result, out)
    return result


def look_up(result: dict, found: Sequence[Mutant]) -> list[Mutant]:
    """Return the mutations of an earlier result in the present sources, and others for those that are gone."""
    earlier = result["mutations"]
    here = {mutant.identity: mutant for mutant in found}
    by_text: dict[tuple, list[Mutant]] = defaultdict(list)
    for mutant in found:
        by_text[mutant.package, mutant.statement, mutant.kind].append(mutant)
    drawn = [here.get(identity_of(each)) for each in earlier]
    taken = {mutant.identity for mutant in drawn if mutant}
    for place, each in enumerate(earlier):
        if drawn[place]:
            continue
        name = f"{each['package']}: {each['scope']}: {each['statement'][:80]} ({each['kind']})"
        same = [m for m in by_text[each["package"], each["statement"], each["kind"]] if m.identity not in taken]
        if len(same) == 1:
            click.echo(f"moved to {same[0].scope}: {name}")
            drawn[place] = same[0]
        else:
            others = (
                m for m in shuffled(found, result["seed"]) if (m.package, m.kind) == (each["package"], each["kind"])
            )
            drawn[place] = next(m for m in others if m.identity not in taken)
            click.echo(f"gone: {name}\n  in its place: {drawn[place].scope}: {drawn[place].statement[:80]}")
        taken.add(drawn[place].identity)
    return [mutant for mutant in drawn if mutant]


def write(result: dict, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.parent == CACHE:
        (CACHE / ".gitignore").write_text("*\n", encoding="utf-8")
    part = out.with_name(out.name + ".part")
    part.write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    part.replace(out)


def caught_by(record: dict) -> str | None:
    return next((run["caught_by"] for run in record["runs"] if run["caught_by"]), None)


# Runs


def run_all(result: dict, out: Path, settings: Settings, chooser: Chooser, work: Path, again: bool) -> None:
    """Run what has not been run, or, again, the survivors of other settings."""
    here = {mutant.identity: mutant for mutant in candidates(ROOT)}
    asked = {"marker": settings.marker, "most": settings.most, "limit": settings.limit}

    def is_due(record: dict) -> bool:
        if again:
            if any(run["marker"] == settings.marker and run["chosen"] == run["covering"] for run in record["runs"]):
                return False  # all that there are
            return not caught_by(record) and not any(asked.items() <= run.items() for run in record["runs"])
        return not record["runs"]

    due = [record for record in result["mutations"] if is_due(record)]
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for job in range(settings.jobs):
        free.put(work / f"job{job}")
    lock, numbers = threading.Lock(), iter(range(1, len(due) + 1))

    def run(record: dict) -> None:
        place = free.get()
        mutant = here[identity_of(record)]
        try:
            found = run_one(mutant, settings, chooser, place, set(result["unreliable"]))
        finally:
            free.put(place)
        with lock:
            record["runs"].append({**asked, **found})
            write(result, out)
            said = found["caught_by"] or "SURVIVED"
            click.echo(
                f"{next(numbers)}/{len(due)} {found['seconds']:.0f} s {mutant.path}:{mutant.edit[0]} "
                f"{mutant.kind}: {said} ({found['ran']} of {found['chosen']} of {found['covering']} tests)"
            )

    with ThreadPoolExecutor(settings.jobs) as pool:
        list(pool.map(run, due))


def run_one(mutant: Mutant, settings: Settings, chooser: Chooser, place: Path, unreliable: set[str]) -> dict:
    """Run the tests of a mutation, and say what came of it."""
    tests, covering, how = chooser.choose(mutant, settings.most, settings.limit * SHARE)
    tests = [test for test in tests if test not in unreliable]
    arguments = tests
    if settings.marker != chooser.map.marker:  # whole files, in which pytest finds the tests
        direct, further, how = chooser.candidates(mutant)
        arguments = sorted({test.split("::")[0] for test in direct or further})
        arguments += [f"--deselect={test}" for test in unreliable]
    tree = fresh_tree(place)
    path = tree / mutant.path
    before = path.stat()
    mutant.apply(tree)
    os.utime(path, (before.st_atime + 1000, before.st_mtime + 1000))  # no compiled file of before is taken for it
    (place / "order.json").write_text(json.dumps(tests), encoding="utf-8")
    variables = {"MUTATIONS_ORDER": str(place / "order.json"), "MUTATIONS_FILE": str(path)}
    if "numba.jit" in path.read_text(encoding="utf-8"):  # the compiler's settings, which its cache does not know
        variables["NUMBA_CACHE_DIR"] = str(place / "work" / "numba")
    begin = time.monotonic()
    limit = max(settings.limit, chooser.map.estimate(tests) / SHARE)
    found = {"caught_by": None, "chosen": len(arguments), "covering": covering, "how": how, "imported": False, "ran": 0}
    if arguments:
        code, notes, text = pytest(tree, place / "work", ["-x", "-m", settings.marker, *arguments], limit, **variables)
        found["ran"] = sum("start" in entry for entry in notes)
        found["imported"] = any(entry.get("imported") for entry in notes)
        failed = [entry["test"] for entry in notes if entry.get("outcome") == "failed"]
        broken = [entry["broken"] for entry in notes if "broken" in entry]
        running = next((entry["start"] for entry in reversed(notes) if "start" in entry), "the start")
        if code is None:
            found["caught_by"] = f"timeout in {running}"
        elif failed:
            found["caught_by"] = failed[0]
        elif code not in (0, 5):
            tree = fresh_tree(place)
            if pytest(tree, place / "work", ["--collect-only", "-m", settings.marker, *arguments])[0]:
                raise click.ClickException(f"expected pytest to find tests, got:\n{text[-3000:]}")
            where = broken[0] if broken else running
            found["caught_by"] = f"{f'signal {-code}' if code < 0 else f'exit code {code}'} in {where}"
    return {**found, "seconds": round(time.monotonic() - begin, 1)}


def fresh_tree(place: Path) -> Path:
    """Return a copy of the copy in which the map was made, with what Numba has compiled there."""
    tree = place / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(CACHE / "tree", tree, symlinks=True)
    return tree


def drop_unreliable(result: dict, out: Path, work: Path) -> bool:
    """Run on unchanged sources what has caught something; what fails there has caught nothing, and run no more."""
    runs = [run for record in result["mutations"] for run in record["runs"]]
    new = [run for run in runs if run["caught_by"] and not run.get("confirmed")]
    tests = sorted(
        {run["caught_by"] for run in new if not run["caught_by"].startswith(("timeout in", "signal", "exit code"))}
    )
    if not tests:
        return False
    click.echo(f"{len(tests)} tests that caught something, on unchanged sources")
    tree = fresh_tree(work / "unchanged")
    markers = sorted({f"({run['marker']})" for run in new})
    code, notes, text = pytest(tree, work / "unchanged" / "work", ["-m", " or ".join(markers), *tests])
    passed = {entry["test"] for entry in notes if entry.get("outcome") == "passed"}
    if code not in (0, 1):
        raise click.ClickException(f"expected tests to run on unchanged sources, got:\n{text[-3000:]}")
    bad = {*tests} - passed
    for record in result["mutations"]:
        record["runs"] = [run for run in record["runs"] if run["caught_by"] not in bad]
    for run in new:
        run["confirmed"] = run["caught_by"] not in bad
    result["unreliable"] = sorted({*result["unreliable"], *bad})
    write(result, out)
    for test in sorted(bad):
        click.echo(f"fails without a mutation: {test}")
    return bool(bad)


def show(result: dict, seconds: float) -> None:
    """Return the summary."""
    records = [record for record in result["mutations"] if record["runs"]]
    survivors = [record for record in records if not caught_by(record)]
    for number, record in enumerate(survivors, 1):
        run = record["runs"][-1]
        click.echo(
            f"\nsurvivor {number}: {record['path']}:{record['line']} {record['scope']} ({record['kind']}; "
            f"{run['ran']} of {run['covering']} tests, by {run['how']})\n{record['diff']}"
        )
    for column in ("package", "kind"):
        totals = Counter(record[column] for record in records)
        lost = Counter(record[column] for record in survivors)
        click.echo("")
        for name in sorted(totals):
            click.echo(f"{name:20} {totals[name] - lost[name]:3} of {totals[name]:3} caught")
    late = [record for record in records if (caught_by(record) or "").startswith("timeout")]
    click.echo(f"{'all':20} {len(records) - len(survivors):3} of {len(records):3} caught, {len(late)} of them by time")
    click.echo(f"in {seconds / 60:.1f} min; of {len(result['mutations'])} drawn")


if __name__ == "__main__":
    main()
