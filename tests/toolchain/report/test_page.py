from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer

import cli
from toolchain.config import config_from_json
from toolchain.errors import RunUnusable
from toolchain.report.commands import benchmark_command, make_command, search_command
from toolchain.report.content import read_content
from toolchain.report.page import write_report
from toolchain.run_dir import RunDirectory
from toolchain.settings import override, parse_assignments

MakeRun = Callable[..., RunDirectory]

VOID = {"meta", "br", "img", "hr", "input", "link"}
FILES = (
    "latency.table",
    "candidates.jsonl",
    "search.json",
    "training.jsonl",
    "test.json",
    "network.json",
    "benchmark.json",
)
HOSTILE = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """The elements of a page; asserts that each is closed where it must be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def prose(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def report(run: RunDirectory) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_a_report_fetches_nothing(make_run: MakeRun) -> None:
    run = make_run()
    text = write_report(run).read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "use"} & set(page.tags)
    assert not {"src", "href", "xlink:href", "data"} & {name for name, _ in page.attributes}
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.parametrize(
    "without",
    [
        without
        for length in range(len(FILES) + 1)
        for without in itertools.combinations(FILES, length)
    ][::5],
)
def test_a_run_at_any_stage_has_a_report(
    whole_run: RunDirectory, tmp_path: Path, without: tuple[str, ...]
) -> None:
    partial = tmp_path / "run"
    partial.mkdir()
    for file in whole_run.path.iterdir():
        if file.name not in without:
            (partial / file.name).write_bytes(file.read_bytes())
    page = report(RunDirectory.open(partial))
    assert page.tags.count("section") == 7


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory, write_a_run: MakeRun) -> RunDirectory:
    return write_a_run(tmp_path_factory.mktemp("report") / "run")


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("search.json", "pocketnas search --output {run} "),
        ("training.jsonl", "pocketnas train {run}"),
        ("network.json", "pocketnas export {run}"),
        ("benchmark.json", "pocketnas benchmark {run}/network.tflite"),
    ],
)
def test_what_is_missing_comes_with_the_command_that_makes_it(
    make_run: MakeRun, missing: str, command: str
) -> None:
    run = make_run(without=(missing,))
    assert command.format(run=run.path.resolve()) in report(run).prose


@pytest.mark.parametrize(("ratio", "verdict"), [(0.9, "Budget met"), (1.9, "Budget missed")])
def test_the_verdict_stands_first(make_run: MakeRun, ratio: float, verdict: str) -> None:
    page = report(make_run(measured_ratio=ratio))
    before_sections = page.prose.split("Accuracy against latency")[0]
    assert verdict in before_sections


def test_a_budget_left_undecided_comes_with_the_command_that_measures_again(
    make_run: MakeRun,
) -> None:
    run = make_run(measured_ratio=1.3)
    record = run.read_json("benchmark.json")
    run.write_json("benchmark.json", {**record, "verdict": "undecided", "is_certain": False})
    prose = report(run).prose
    assert "Budget undecided" in prose
    assert f"pocketnas benchmark {run.path.resolve()}/network.tflite" in prose


def test_an_unmeasured_run_has_no_verdict(make_run: MakeRun) -> None:
    prose = report(make_run(without=("benchmark.json",))).prose
    assert "Not measured" in prose
    assert "Budget met" not in prose
    assert "Budget missed" not in prose


def test_the_budget_is_drawn_where_it_splits_the_candidates(make_run: MakeRun) -> None:
    run = make_run()
    content = read_content(run)
    assert content.budget is not None
    sides = {
        (content.admits(one), content.limited_ms(one) <= content.budget.limit_ms)
        for one in content.candidates
    }
    assert sides == {(True, True), (False, False)}
    assert report(run).prose.count("budget 0.450 ms") == 3  # verdict, candidates, walk


def test_a_search_without_a_table_is_shown_against_macs(make_run: MakeRun) -> None:
    prose = report(make_run(limit_ms=None)).prose
    assert "Accuracy against MACs" in prose
    assert "MACs, millions" in prose
    assert "budget 0" not in prose


def test_a_method_that_does_not_walk_says_so(make_run: MakeRun) -> None:
    assert "random does not walk" in report(make_run(method="random")).prose


def test_a_legend_names_the_answer_only_where_it_is_drawn(make_run: MakeRun) -> None:
    run = make_run()
    search = run.read_json("search.json")
    answer = search["best"]["genotype"]
    search["trajectory"] = [step for step in search["trajectory"] if step["genotype"] != answer]
    assert report(run).prose.count("the answer") == 2
    run.write_json("search.json", search)
    assert report(run).prose.count("the answer") == 1


def test_each_candidate_is_a_point_with_its_genotype(make_run: MakeRun) -> None:
    run = make_run(method="random")
    genotypes = [one["genotype"] for one in run.records("candidates.jsonl")]
    prose = report(run).prose
    assert all(f"{genotype} proxy accuracy" in prose for genotype in genotypes)


def test_one_candidate_is_enough_for_a_chart(make_run: MakeRun) -> None:
    run = make_run(without=("search.json",))
    first = (run.path / "candidates.jsonl").read_text().splitlines()[0]
    (run.path / "candidates.jsonl").write_text(first + "\n")
    genotype = json.loads(first)["genotype"]
    assert f"{genotype} proxy accuracy" in report(run).prose


def test_hostile_names_are_text(make_run: MakeRun) -> None:
    run = make_run(without=("search.json",))
    run.write_json("config.json", {**run.config, "versions": {HOSTILE: HOSTILE}})
    candidate = json.loads((run.path / "candidates.jsonl").read_text().splitlines()[0])
    run.append("candidates.jsonl", {**candidate, "genotype": HOSTILE})
    card = {**run.read_json("network.json"), "path": HOSTILE}
    run.write_json("network.json", card)
    benchmark = run.read_json("benchmark.json")
    benchmark["kernels"][0] |= {"name": HOSTILE, "kernel": None}
    benchmark["conditions"] |= {HOSTILE: HOSTILE}
    run.write_json("benchmark.json", benchmark)
    page = report(run)
    assert "script" not in page.tags
    assert page.prose.count("<script>alert(1)</script>") >= 5


def test_a_damaged_file_is_named(make_run: MakeRun) -> None:
    run = make_run()
    (run.path / "benchmark.json").write_text("{")
    with pytest.raises(RunUnusable, match=r"benchmark\.json"):
        write_report(run)


def test_a_gram_run_shows_its_walk_by_networks_trained_and_its_meta_graph(
    gram_run: RunDirectory,
) -> None:
    page = report(gram_run)
    assert page.tags.count("section") == 8
    assert page.prose.count("Networks trained") == 3
    assert page.prose.count("best chain") >= 3
    assert "Edges left" not in page.prose
    assert "cell with all edges" not in page.prose
    command = (
        f"pocketnas prune {gram_run.path.resolve()} --output {gram_run.path.resolve()}-family"
    )
    assert command in page.prose
    assert "edge that this budget keeps" not in page.prose
    steps = read_content(gram_run).walk
    assert [step["trained"] for step in steps] == sorted(step["trained"] for step in steps)


def test_a_pruned_run_says_where_it_comes_from_and_what_is_next(
    gram_run: RunDirectory, member: RunDirectory
) -> None:
    page = report(member)
    assert page.tags.count("section") == 8
    source = str(gram_run.path.resolve())
    assert f"pruned from the meta-graph of the search in {source} : nothing was" in page.prose
    assert "There was no search for this network alone." in page.prose
    assert "edge that this budget keeps" in page.prose
    assert f"Next: pocketnas train {member.path.resolve()}" in page.prose
    assert "pocketnas search" not in page.prose
    assert "does not walk" not in page.prose
    assert "No network has been trained" not in page.prose


def test_the_command_to_reproduce_a_pruned_run_prunes_again(member: RunDirectory) -> None:
    content = read_content(member)
    words = shlex.split(make_command(content, member.path.with_name("again")))
    prune = typer.main.get_command(cli.app).commands["prune"]  # type: ignore[attr-defined]
    options = prune.make_context("prune", words[2:]).params
    assert content.budget is not None
    assert options["budget_ms"] == [content.budget.limit_ms]
    assert options["confidence"] == content.budget.confidence
    assert str(options["run"]) == content.pruned_from
    assert options["table"] == content.path / "latency.table"


def test_an_answer_that_was_given_needs_no_search(make_run: MakeRun) -> None:
    run = make_run(without=("candidates.jsonl", "training.jsonl", "test.json", "benchmark.json"))
    search = run.read_json("search.json")
    run.write_json("search.json", {**search, "trajectory": [], "evaluations": 0})
    prose = report(run).prose
    assert "This network was given: nothing was trained to find it." in prose
    assert "No network has been trained yet" not in prose


def test_limits_are_in_the_command_to_reproduce(make_run: MakeRun) -> None:
    run = make_run(max_params=400_000)
    assert "--max-params 400000" in search_command(read_content(run), run.path)
    assert "--max-macs" not in search_command(read_content(run), run.path)


def test_how_a_budget_is_used_is_in_the_command_to_reproduce(make_run: MakeRun) -> None:
    run = make_run()
    config = run.config
    config["budget"]["fill"], config["measure_doubtful"] = 0.85, True
    run.write_json("config.json", config)
    command = search_command(read_content(run), run.path)
    assert "--fill 0.85" in command
    assert "--measure-doubtful" in command


def test_what_a_table_learned_is_what_the_next_benchmark_predicts_with(make_run: MakeRun) -> None:
    run = make_run(without=("benchmark.json",))
    (run.path / "learned.table").write_bytes((run.path / "latency.table").read_bytes())
    assert f"--table {run.path.resolve() / 'learned.table'}" in benchmark_command(
        read_content(run)
    )


@pytest.mark.parametrize("limit_ms", [0.45, None])
@pytest.mark.parametrize("method", ["autoshrink", "random", "gram"])
def test_the_command_to_reproduce_asks_for_the_same_run(
    make_run: MakeRun, limit_ms: float | None, method: str
) -> None:
    run = make_run(limit_ms=limit_ms, method=method)
    content = read_content(run)
    words = shlex.split(search_command(content, run.path.with_name("again")))
    search = typer.main.get_command(cli.app).commands["search"]  # type: ignore[attr-defined]
    options = search.make_context("search", words[2:]).params
    config = config_from_json(run.config)
    assert options["seed"] == config.seed
    assert options["method"] == config.method
    assert options["budget_ms"] == limit_ms
    assert override(config.space, parse_assignments(options["space_set"] or [])) == config.space
    fresh = type(config.method_settings)()
    chosen = parse_assignments(options["method_set"] or [])
    assert override(fresh, chosen) == config.method_settings
    assert (options["table"] is None) == (limit_ms is None)


def test_kernels_too_short_for_the_profilers_clock_have_no_difference(make_run: MakeRun) -> None:
    run = make_run()
    benchmark = run.read_json("benchmark.json")
    for kernel in benchmark["kernels"][20:]:
        kernel["measured_ms"] = 0.0
    for kernel in benchmark["kernels"][:20]:
        kernel["measured_ms"] = 0.01
    run.write_json("benchmark.json", benchmark)
    assert "others 0 ms" in re.sub(r"\s+", " ", report(run).prose)
