"""The words of the five commands: one name for one thing, old names that still work, help, examples, completion."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from lmm_detector.cli.main import main as lmm_detector
from rbox_baselines.cli.main import main as rbox_baselines
from rbox_formats.cli import Command
from rbox_formats.cli._command import Option
from rbox_formats.cli.main import main as rbox_formats
from rbox_metrics.cli.main import main as rbox_metrics
from rbox_serve.cli.main import main as rbox_serve
from rbox_testing.commands import make_inputs
from rbox_testing.samples import sampled

MAINS = {
    "lmm-detector": lmm_detector,
    "rbox-baselines": rbox_baselines,
    "rbox-formats": rbox_formats,
    "rbox-metrics": rbox_metrics,
    "rbox-serve": rbox_serve,
}
COMMANDS: dict[str, Command] = {
    f"{name} {word}": command  # type: ignore[misc]
    for name, main in MAINS.items()
    for word, command in main.commands.items()  # type: ignore[attr-defined]
}

# What an option was called before this version, by its command.
RENAMED = {
    "rbox-formats convert": {"--skip-missing": "--only-with-images"},
    "rbox-formats split": {"--size": "--window", "--out-format": "--to"},
    "rbox-metrics evaluate": {"--truth": "--data", "--class-mapping": "--map"},
    "rbox-metrics compare": {"--truth": "--data", "--class-mapping": "--map"},
    "rbox-metrics confusion": {"--truth": "--data", "--class-mapping": "--map", "--score": "--score-threshold"},
    "rbox-metrics sweep": {"--truth": "--data", "--class-mapping": "--map", "--score": "--score-threshold"},
    "rbox-metrics merge": {"--window-size": "--window"},
    "lmm-detector train": {
        "--model-name-or-path": "--model",
        "--data-path": "--data",
        "--response-format": "--codec",
        "--image-square-length": "--image-size",
        "--eval-data-path": "--eval-data",
    },
    "lmm-detector evaluate": {"--clip-num": "--sample", "--shuffle-seed": "--sample-seed"},
    "rbox-baselines train": {"--work-dir": "--out", "--leave-out": "--drop", "--load-from": "--model"},
    "rbox-baselines predict": {"--checkpoint": "--model"},
    "rbox-baselines evaluate": {"--checkpoint": "--model", "--leave-out": "--drop"},
    "rbox-baselines results": {"--report": "--out"},
    "rbox-baselines info": {"--checkpoint": "--model", "--size": "--input-size"},
    "rbox-baselines curves": {"--keys": "--key", "--table": "--out"},
}
VALUES = {"--map": "classes.json", "--input-size": "64x64", "--to": "coco", "--codec": "geochat"}


def options_of(command: click.Command) -> Iterator[Option]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert isinstance(parameter, Option), parameter.opts
            yield parameter


def parsed(name: str, *arguments: str) -> dict[str, Any]:
    command = COMMANDS[name]
    with command.make_context(name, list(arguments)) as context:
        return context.params


def required(command: click.Command, *but: str) -> list[str]:
    """Values for the required options and arguments of a command, except for some options."""
    words = []
    for parameter in command.params:
        if parameter.required and parameter.opts[0] not in but:
            value = VALUES.get(parameter.opts[0], "x")
            words += [parameter.opts[0], value] if isinstance(parameter, click.Option) else [value]
    return words


def test_every_old_name_is_in_the_table() -> None:
    found = {
        name: {old: option.opts[0] for option in options_of(command) for old in option.old}
        for name, command in COMMANDS.items()
    }
    assert {name: renamed for name, renamed in found.items() if renamed} == RENAMED


@pytest.mark.parametrize("name, old", [(name, old) for name, renamed in RENAMED.items() for old in renamed])
def test_an_old_name_works_and_prints_the_new_one(name: str, old: str, capsys: pytest.CaptureFixture[str]) -> None:
    new = RENAMED[name][old]
    (option,) = (option for option in options_of(COMMANDS[name]) if option.opts[0] == new)
    rest = required(COMMANDS[name], new)
    value = [] if option.is_flag else [VALUES.get(new, "7")]
    expected = parsed(name, new, *value, *rest)
    assert not capsys.readouterr().err
    assert parsed(name, old, *value, *rest) == expected
    captured = capsys.readouterr()
    assert captured.err == f"Warning: {old} is now {new}; the old name will stop working in the next version.\n"
    assert not captured.out
    if value:
        assert parsed(name, f"{old}={value[0]}", *rest) == expected
        assert new in capsys.readouterr().err
    text = COMMANDS[name].get_help(click.Context(COMMANDS[name], info_name=name))
    assert not re.search(rf"^  {old}(?![\w-])", text, re.MULTILINE)


def test_an_old_name_that_comes_twice_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    found = parsed("rbox-baselines train", "config", "--out", "x", "--leave-out", "a", "--leave-out", "b")
    assert found["drop"] == ("a", "b")
    assert capsys.readouterr().err.count("--drop") == 1


def test_old_words_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line of the version before gives what the new one gives."""
    make_inputs(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    Path("none.json").write_text('{"ship": null}')
    given = "confusion --split val --predictions in/predictions.jsonl"
    old = CliRunner().invoke(
        rbox_metrics, f"{given} --truth in/scenes --score 0.5 --class-mapping none.json --out old.csv".split()
    )
    new = CliRunner().invoke(
        rbox_metrics, f"{given} --data in/scenes --score-threshold 0.5 --drop ship --out new.csv".split()
    )
    assert (old.exit_code, new.exit_code) == (0, 0), (old.output, new.output)
    assert Path("old.csv").read_text() == Path("new.csv").read_text()
    assert [line.split()[1] for line in old.output.splitlines() if "is now" in line] == [
        "--truth",
        "--score",
        "--class-mapping",
    ]
    assert "is now" not in new.output


def test_resume_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("config", "--out", "x")
    assert parsed("rbox-baselines train", *given, "--resume") == parsed("rbox-baselines train", *given)
    assert "Warning: --resume is now the default" in capsys.readouterr().err
    assert not parsed("rbox-baselines train", *given)["restart"]


# One thing has one name: what must not come back.
REFUSED = {"--truth", "--work-dir", "--leave-out", "--score", "--checkpoint-file", "--class-mapping", "--data-path"}


def test_one_name_for_one_thing() -> None:
    for name, command in COMMANDS.items():
        names = {opt for option in options_of(command) for opt in option.opts}
        assert not names & REFUSED, name
    datasets = {name for name, command in COMMANDS.items() if "--format" in {o.opts[0] for o in options_of(command)}}
    assert len(datasets) > 12
    for name in datasets:
        assert "--data" in {option.opts[0] for option in options_of(COMMANDS[name])}, name


@pytest.mark.parametrize("name", MAINS)
def test_summaries_are_whole(name: str) -> None:
    output = CliRunner().invoke(MAINS[name], ["--help"]).output
    listed = output.partition("Commands:\n")[2]
    assert "..." not in listed
    for word, command in MAINS[name].commands.items():  # type: ignore[attr-defined]
        summary = command.get_short_help_str()
        assert summary.endswith("."), word
        assert len(summary) <= 80, summary
        assert " ".join(summary.split()) in " ".join(listed.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_titles_defaults_and_examples(name: str) -> None:
    command = COMMANDS[name]
    context = click.Context(command, info_name=name)
    for option in options_of(command):
        if option.hidden:
            continue
        record = option.get_help_record(context)
        assert record is not None
        text = record[1]
        assert text[:1].isupper(), (name, option.opts, text)
        default = option.get_default(context)
        if default not in (None, False, (), "") and "UNSET" not in repr(default):
            assert "[default: " in text, (name, option.opts, text)
        if option.name not in ("wait", "list", "workers", "rounds", "public", "checkpoint", "dry_run", "help"):
            assert option.group, (name, option.opts)
    assert command.examples
    assert "\nExample" in command.get_help(context)


@pytest.mark.parametrize(
    "name, example", [(name, each) for name, command in COMMANDS.items() for each in command.examples]
)
def test_examples_are_command_lines(
    name: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(re.sub(r" >>? .*", "", example))
    assert " ".join(words[:2]) == name
    assert len(example) <= 100
    with suppress(click.exceptions.Exit):  # --list
        COMMANDS[name].make_context(name, words[2:]).close()
    assert "Warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (
            "rbox-formats convert --data x --format dotta --to coco --out y",
            "'dotta' is not a known format. Did you mean 'dota'? Choose from coco, ",
        ),
        ("rbox-formats encode --data x --codec florence --out y", "Did you mean 'florence2'?"),
        ("rbox-metrics merge --predictions x --predictions-format task --out y", "not a known kind of predictions"),
        ("lmm-detector predict --model x --data y --out z --scores max", "'max' is not one of 'mean', 'geometric'"),
        ("lmm-detector merge a b --dtype int8", "'int8' is not one of 'float32', 'bfloat16', 'float16'"),
        ("lmm-detector train --preset none", "'none' is not one of 'lmmrotate-balanced'"),
    ],
)
def test_closed_sets_fail_early(words: str, message: str) -> None:
    name, *arguments = words.split()
    result = CliRunner().invoke(MAINS[name], arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_choices_are_those_that_there_are() -> None:
    """What is written out, so that `--help` loads no torch, is what the packages take."""
    from lmm_detector._families._loading import DTYPES
    from lmm_detector._prediction._scores import RULES

    choices = {option.opts[0]: option.type for option in options_of(COMMANDS["lmm-detector predict"])}
    assert list(choices["--scores"].choices) == list(RULES)  # type: ignore[attr-defined]
    assert list(choices["--dtype"].choices) == list(DTYPES)  # type: ignore[attr-defined]


def complete(name: str, shell: str, line: str) -> list[str]:
    """What a shell is given for a command line with the cursor at its end."""
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    words = line.split(" ")
    position = {"fish": words[-1], "bash": str(len(words) - 1), "zsh": str(len(words) - 1)}[shell]
    code = f"from {name.replace('-', '_')}.cli.main import main; main(prog_name={name!r})"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, variable: f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": position},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not found.stderr
    return found.stdout.splitlines()


@pytest.mark.parametrize("shell", sampled(["bash", "zsh", "fish"], ["bash"]))
def test_a_shell_completes(shell: str) -> None:
    assert any("evaluate" in line for line in complete("rbox-metrics", shell, "rbox-metrics eva"))
    assert any("fair1m" in line for line in complete("rbox-formats", shell, "rbox-formats split --format fa"))
    files = complete("lmm-detector", shell, "lmm-detector predict --model runs")
    assert any("file" in line for line in files), files
    options = complete("rbox-baselines", shell, "rbox-baselines train x --work")
    assert not any("--work-dir" in line for line in options)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("name", MAINS)
def test_the_script_of_each_shell(name: str, shell: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(MAINS[name], ["completion", shell])
    assert result.exit_code == 0
    assert f"_{name.replace('-', '_').upper()}_COMPLETE={shell}_complete" in result.output
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(result.output)
        subprocess.run([shell, "-n", script], check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself_completes(tmp_path: Path) -> None:
    """The script, sourced as a user's ~/.bashrc does, and the function that it makes."""
    (tmp_path / "rbox-metrics").write_text(
        f"#!{sys.executable}\nfrom rbox_metrics.cli.main import main\nmain(prog_name='rbox-metrics')\n"
    )
    (tmp_path / "rbox-metrics").chmod(0o755)
    lines = [
        'eval "$(rbox-metrics completion bash)"',
        "COMP_WORDS=(rbox-metrics compare --pro); COMP_CWORD=2",
        "$(complete -p rbox-metrics | sed 's/.*-F \\([^ ]*\\).*/\\1/') rbox-metrics",
        'echo "found: ${COMPREPLY[@]}"',
    ]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    found = subprocess.run(
        ["bash", "-c", "\n".join(lines)], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert found.stdout == "found: --protocol\n", found


def test_the_shell_is_found_or_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert "fish_complete" in CliRunner().invoke(rbox_formats, ["completion"]).output
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    result = CliRunner().invoke(rbox_formats, ["completion"])
    assert result.exit_code == 2
    assert "Name your shell, one of bash, zsh, fish." in result.output


def test_a_json_file_renames_in_convert_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_inputs(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    Path("names.json").write_text(json.dumps({"ship": "boat", "plane": None}))
    given = ["convert", "--data", "in/scenes", "--split", "val", "--to", "coco"]
    by_file = CliRunner().invoke(rbox_formats, [*given, "--out", "a", "--map", "names.json"])
    by_words = CliRunner().invoke(rbox_formats, [*given, "--out", "b", "--map", "ship=boat", "--drop", "plane"])
    assert by_file.exit_code == by_words.exit_code == 0, (by_file.output, by_words.output)
    assert by_file.output.replace("a/", "b/") == by_words.output
    one, other = (sorted(path for path in Path(name).rglob("*.json")) for name in "ab")
    assert [path.read_text() for path in one] == [path.read_text() for path in other]
    wrong = CliRunner().invoke(rbox_formats, [*given, "--out", "c", "--map", "names.json", "--map", "plane=bus"])
    assert wrong.exit_code == 1
    assert "expected one thing to be done with 'plane', got two" in wrong.output
