"""The options of the command line: each once, and groups of those that commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

Texts = list[str] | None
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, nothing else.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")]
RunPath = Annotated[Path, typer.Argument(help="Folder of the run.")]
Sessions = Annotated[int, typer.Option(help="Times each network is loaded and measured afresh.")]
Task = Annotated[str, typer.Option(help="fashion-mnist or image-folder.")]
Data = Annotated[Path | None, typer.Option(help="Folder or archive of the task's images.")]
ImageSize = Annotated[int | None, typer.Option(min=1, help="Resize images to so many pixels.")]
SpaceName = Annotated[
    str, typer.Option("--space", help="Search space: shrinkcnn, swiftnet, mobilenet or scalenet.")
]
SpaceSet = Annotated[Texts, typer.Option("--set", help="Setting of the space: name=value.")]
Method = Annotated[
    str, typer.Option(help="Search method: gram, autoshrink, scalenas, evolution or random.")
]
MethodSet = Annotated[Texts, typer.Option(help="Setting of the method: name=value.")]
Proxy = Annotated[str, typer.Option(help="Training of candidates: quick or paper.")]
ProxySet = Annotated[Texts, typer.Option(help="Setting of the proxy: name=value.")]
Epochs = Annotated[int, typer.Option(help="Epochs of the final training.")]
TrainSet = Annotated[Texts, typer.Option(help="Setting of the final training: name=value.")]
TablePath = Annotated[Path | None, typer.Option("--table", help="Latency table of the target.")]
BudgetMs = Annotated[float | None, typer.Option(help="Hard limit on latency in ms.")]
Confidence = Annotated[float, typer.Option(help="Probability that the limit must hold with.")]
Fill = Annotated[
    float, typer.Option(help="Share of the budget that a network must use to be trained.")
]
MaxMacs = Annotated[int | None, typer.Option(help="Hard limit on multiply-accumulates.")]
MaxParams = Annotated[int | None, typer.Option(help="Hard limit on parameters.")]
MaxMemory = Annotated[
    int | None, typer.Option(help="Hard limit on peak memory of activations in bytes, float32.")
]
MeasureMissing = Annotated[
    bool, typer.Option("--measure-missing", help="Measure kernels that the table lacks.")
]
Workers = Annotated[
    int, typer.Option(min=0, help="Processes that train candidates; 0: one a core.")
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", help="Ray cluster that trains candidates: host:port, auto, local."),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted call stopped.")]


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Options of every command that measures; see Place."""

    device: Annotated[
        Texts,
        typer.Option(help="Where to measure: host, or a phone: serial, host:port, model:NAME."),
    ] = None
    adb_server: Annotated[
        Texts, typer.Option(help="adb server that has phones: host:port; else the local one.")
    ] = None
    benchmark_binary: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="benchmark_model for the phone; else it is fetched."),
    ] = None
    threads: Annotated[int, typer.Option(help="Threads the runtime is given.")] = 1
    cpu_mask: Annotated[
        str, typer.Option(help="CPUs of the phone: auto, big, all or a hexadecimal mask.")
    ] = "auto"
    precision: Annotated[
        str, typer.Option(help="float32, or float16 to let a phone compute so.")
    ] = "float32"


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Options of every command that searches; see RunConfig."""

    task: Task = "fashion-mnist"
    data: Data = None
    image_size: ImageSize = None
    space: SpaceName = "shrinkcnn"
    space_set: SpaceSet = None
    method: Method = "autoshrink"
    method_set: MethodSet = None
    proxy: Proxy = "quick"
    proxy_set: ProxySet = None
    epochs: Epochs = 10
    train_set: TrainSet = None
    table: TablePath = None
    confidence: Confidence = 0.95
    fill: Fill = 0.0
    max_macs: MaxMacs = None
    max_params: MaxParams = None
    max_memory_bytes: MaxMemory = None
    measure_missing: MeasureMissing = False
    workers: Workers = 0
    ray: Ray = None
    seed: Seed = 0
    resume: Resume = False


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options: a parameter that is a dataclass becomes its fields."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: one for name, one in hints.items() if is_dataclass(one)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name not in groups:
            parameters.append(
                parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
            )
            continue
        inner = get_type_hints(groups[parameter.name], include_extras=True)
        parameters += [
            parameter.replace(
                name=field.name,
                kind=parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=inner[field.name],
            )
            for field in fields(groups[parameter.name])
        ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        grouped = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **grouped)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
