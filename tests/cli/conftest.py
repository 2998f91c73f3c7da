"""A small data set, a table and a run, each made once by the program itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command_line import SPACE, TRAINING, Call, Ended, run, write_images

import cli


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A cache of the tests' own, and this checkout whatever folder a command runs in."""
    cache = str(tmp_path_factory.mktemp("cache"))
    return {"POCKETNAS_CACHE": cache, "PYTHONPATH": str(Path(cli.__file__).parent)}


@pytest.fixture(autouse=True)
def _environment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run the program in this process, which saves the seconds that importing torch takes."""

    def called(*words: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["pocketnas", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Ended(code=int(ended.value.code or 0), out=out, err=err)

    return called


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "stripes"
    write_images(root)
    return root


@pytest.fixture(scope="session")
def task(data: Path) -> list[str]:
    return ["--task=image-folder", f"--data={data}", *SPACE]


@pytest.fixture(scope="session")
def table(
    task: list[str], environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("table") / "host.table"
    ended = run("profile", "-o", path, *task, "--sessions=1", **environment)
    assert ended.code == 0, ended.err
    return path


@pytest.fixture(scope="session")
def search(task: list[str], table: Path) -> list[str]:
    """The words of a search, without its folder: budget mode of AutoShrink, 3 trainings."""
    budget = [f"--table={table}", "--budget-ms=50"]
    return [*task, *budget, *TRAINING, "--method-set=candidates_per_step=3"]


@pytest.fixture(scope="session")
def finished(
    search: list[str], environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the whole loop, done without interruption by `pocketnas run`."""
    folder = tmp_path_factory.mktemp("finished") / "new" / "run"
    ended = run("run", "-o", folder, *search, "--json", **environment)
    assert (ended.code, ended.err) == (0, "")
    (folder.parent / "result.json").write_text(ended.out)
    return folder
