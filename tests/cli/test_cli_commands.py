from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import Call, cpu_seconds, run

import cli
from profilers.litert import LiteRtModel
from toolchain.spaces.scalenet_json import architecture_to_json
from toolchain.spaces.scalenet_published import SCALENETS
from toolchain.zoo import make_network


def commands(
    group: typer.Typer = cli.app, prefix: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], Any]]:
    """Every command's words and what it is registered as."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for command in group.registered_commands:
        assert command.callback is not None
        found.append(((*prefix, command.name or command.callback.__name__), command))
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        found += commands(inner.typer_instance, (*prefix, str(inner.name)))
    return found


COMMANDS = dict(commands())


def test_the_commands_are_those_of_the_plan() -> None:
    words = {" ".join(words) for words in COMMANDS}
    assert words >= {
        "devices", "profile", "search", "train", "export", "benchmark", "run", "report",
        "tables show", "zoo list", "zoo show", "zoo export",
    }  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_each_of_its_options_has_a_help_text(words: tuple[str, ...]) -> None:
    assert COMMANDS[words].callback.__doc__
    command = typer.main.get_command(cli.app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    for parameter in command.params:
        if parameter.name != "help":
            assert getattr(parameter, "help", None), f"{parameter.name} has no help"


@pytest.mark.parametrize("words", [(), ("tables",), ("zoo",), *COMMANDS], ids=" ".join)
def test_help_of_every_command_is_printed(words: tuple[str, ...], call: Call) -> None:
    ended = call(*words, "--help")
    assert ended.code == 0
    assert ended.out.startswith("Usage")
    assert "--help" in ended.out
    assert ended.err == ""


def test_help_loads_neither_torch_nor_the_runtime() -> None:
    program = (
        "import sys\n"
        "sys.argv = ['pocketnas', '--help']\n"
        "import cli\n"
        "try: cli.main()\n"
        "finally: print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    modules = set(done.stderr.split())
    assert {"cli", "typer"} <= modules
    assert not modules & {"torch", "numpy", "pandas", "ai_edge_litert", "onnx", "toolchain"}


def test_help_answers_in_under_a_third_of_a_second() -> None:
    assert statistics.median(cpu_seconds("--help") for _ in range(5)) < 0.3


def test_json_of_devices_names_the_host_and_its_target(call: Call) -> None:
    ended = call("devices", "--json")
    assert (ended.code, ended.err) == (0, "")
    (host,) = json.loads(ended.out)
    assert (host["serial"], host["state"], host["runtime"]) == ("host", "ready", "litert")
    assert call("devices").out.startswith("host  ready")


def test_json_of_a_table_is_all_that_is_printed(table: Path) -> None:
    ended = run("tables", "show", table, "--json")
    assert (ended.code, ended.err) == (0, "")
    shown = json.loads(ended.out)
    assert shown["table"] == str(table)
    assert shown["kernels"] == sum(shown["kinds"].values()) > 0
    assert shown["target"]["device"] == "host"
    assert shown["calibration"]["networks"] >= 8


def test_a_table_is_shown_in_words(table: Path, call: Call) -> None:
    ended = call("tables", "show", table)
    assert ended.code == 0
    assert "kernels on host" in ended.out
    assert "calibrated on" in ended.out


def test_the_zoo_is_listed(call: Call) -> None:
    names = json.loads(call("zoo", "list", "--json").out)
    assert {"shrinkcnn-a", "shrinkcnn-b"} <= set(names)
    assert call("zoo", "list").out.split() == names


def test_a_recurrent_zoo_network_is_counted_and_not_drawn(call: Call, tmp_path: Path) -> None:
    told = json.loads(call("zoo", "show", "shrinkrnn", "--json").out)
    assert told["params"] == 23_000_700
    assert "23,000,700" in call("zoo", "show", "shrinkrnn").out
    complaint = call("zoo", "show", "shrinkrnn", "--svg", tmp_path / "a.svg").complaint
    assert "shrinkrnn is a recurrent network" in complaint


def test_a_zoo_network_is_counted(call: Call) -> None:
    ended = call("zoo", "show", "shrinkcnn-a", "--json")
    shown = json.loads(ended.out)
    assert (ended.code, ended.err) == (0, "")
    assert (shown["name"], shown["input"]) == ("shrinkcnn-a", [3, 224, 224])
    assert shown["params"] == 3_600_981
    assert shown["params_with_norm"] > shown["params"]
    assert shown["macs"] == pytest.approx(383.68e6, rel=1e-4)
    assert shown["peak_memory_bytes"] > 0
    text = call("zoo", "show", "shrinkcnn-a").out
    assert "3,600,981" in text


def test_a_graph_of_ones_own_is_counted_and_drawn(call: Call, tmp_path: Path) -> None:
    graph = make_network("shrinkcnn-b")
    (tmp_path / "graph.json").write_text(json.dumps(graph.to_json()))
    drawing = tmp_path / "graph.svg"
    ended = call("zoo", "show", "--from", tmp_path / "graph.json", "--svg", drawing, "--json")
    assert ended.code == 0
    assert json.loads(ended.out) == json.loads(call("zoo", "show", "shrinkcnn-b", "--json").out)
    assert drawing.read_text().lstrip().startswith("<svg")


def test_a_scalenet_of_ones_own_is_counted_at_its_own_input(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "p1.json"
    path.write_text(json.dumps(architecture_to_json(SCALENETS["scalenet-p1"])))
    shown = json.loads(call("zoo", "show", "--from", path, "--json").out)
    assert shown == json.loads(call("zoo", "show", "scalenet-p1", "--json").out)
    assert shown["input"] == [3, 256, 192]
    assert (shown["params_with_norm"], shown["macs"]) == (28_483_633, 7_459_995_648)


def test_a_zoo_network_is_exported_as_a_file_that_runs(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    ended = call("zoo", "export", "shrinkcnn-a", "-o", path)
    assert ended.code == 0
    assert f"next: pocketnas benchmark {path}" in ended.out
    with LiteRtModel(path) as model:
        model.run()
        assert model.read_output().shape == (1, 1001)
