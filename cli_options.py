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


def parse_image_size(text: str) -> int | tuple[int, int]:
    """Rows and columns from a text such as ``96,128``; one number where they are equal."""
    words = text.replace("x", ",").split(",")
    if not 1 <= len(words) <= 2 or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise typer.BadParameter(
            f"expected a number of pixels, or rows and columns like 96,128; got {text!r}"
        )
    numbers = [int(word) for word in words]
    return numbers[0] if len(set(numbers)) == 1 else (numbers[0], numbers[1])


def parse_cells(text: str) -> tuple[int, ...]:
    """Cells of each stage from a text such as ``1,2,2``.

    Raises:
        ValueError: it is none.
    """
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise ValueError(f"expected cells of each stage like 1,2,2; got {text!r}")
    return tuple(map(int, words))


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, nothing else.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")]
RunPath = Annotated[Path, typer.Argument(help="Folder of the run.")]
Sessions = Annotated[int, typer.Option(help="Times each network is loaded and measured afresh.")]
TASK_NAMES = (
    "fashion-mnist, image-folder (classification); people-and-shapes, camvid, cityscapes "
    "(segmentation); stick-people, coco-keypoints (pose); brown, text-folder (language)"
)
Task = Annotated[str, typer.Option(help=f"{TASK_NAMES}.")]
FittedTask = Annotated[
    str | None, typer.Option("--task", help=f"Fit the space to this task's data: {TASK_NAMES}.")
]
TaskSet = Annotated[Texts, typer.Option(help="Choice of the task: name=value.")]
Data = Annotated[Path | None, typer.Option(help="Folder or archive of the task's data.")]
ImageSize = Annotated[
    Any,
    typer.Option(
        parser=parse_image_size,
        metavar="PIXELS",
        help="Resize images to so many rows and columns: 64, or 96,128.",
    ),
]
SpaceName = Annotated[
    str,
    typer.Option(
        "--space", help="Search space: shrinkcnn, swiftnet, mobilenet, scalenet or shrinkrnn."
    ),
]
SpaceSet = Annotated[Texts, typer.Option("--set", help="Setting of the space: name=value.")]
Method = Annotated[
    str, typer.Option(help="Search method: gram, autoshrink, scalenas, evolution or random.")
]
MethodSet = Annotated[Texts, typer.Option(help="Setting of the method: name=value.")]
Weights = Annotated[
    str,
    typer.Option(
        help="Of candidates: own (each is trained for a short time), shared (a supernet's), or "
        "auto: shared for scalenas on segmentation and pose."
    ),
]
SupernetSet = Annotated[Texts, typer.Option(help="Setting of the supernet: name=value.")]
SupernetRun = Annotated[
    Path | None, typer.Option("--supernet", help="Run whose trained supernet is taken over.")
]
Proxy = Annotated[
    str,
    typer.Option(help="Training of candidates: quick, or paper for classification and language."),
]
ProxySet = Annotated[Texts, typer.Option(help="Setting of the proxy: name=value.")]
Epochs = Annotated[
    int | None,
    typer.Option(
        help="Epochs of the final training; else 10 for classification, 12 for language, 30 for "
        "segmentation and pose, 0 with a supernet's weights.",
        show_default=False,
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="Final training by name: imagenet (classification, 300 epochs unless said "
        "otherwise), paper (language, 3000); else the customary one of the task."
    ),
]
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
Int8 = Annotated[
    bool, typer.Option("--int8", help="Quantize to 8-bit integers too, and say what it cost.")
]
MeasureMissing = Annotated[
    bool, typer.Option("--measure-missing", help="Measure kernels that the table lacks.")
]
MeasureDoubtful = Annotated[
    bool,
    typer.Option(
        "--measure-doubtful",
        help="Measure candidates unlike what the table was measured on, and learn from them.",
    ),
]
Workers = Annotated[
    int, typer.Option(min=0, help="Processes that judge candidates; 0: one a core.")
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", help="Ray cluster that judges candidates: host:port, auto, local."),
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
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads the runtime is given; else those of the table, or 1.",
            show_default=False,
        ),
    ] = None
    cpu_mask: Annotated[
        str, typer.Option(help="CPUs of the phone: auto, big, all or a hexadecimal mask.")
    ] = "auto"
    precision: Annotated[
        str | None,
        typer.Option(
            help="float32, int8, or float16 to let a phone compute so; else that of the table, or "
            "float32.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Options of every command that searches; see RunConfig."""

    task: Task = "fashion-mnist"
    data: Data = None
    image_size: ImageSize = None
    task_set: TaskSet = None
    space: SpaceName = "shrinkcnn"
    space_set: SpaceSet = None
    method: Method = "autoshrink"
    method_set: MethodSet = None
    weights: Weights = "auto"
    proxy: Proxy = "quick"
    proxy_set: ProxySet = None
    supernet_set: SupernetSet = None
    supernet: SupernetRun = None
    recipe: Recipe = None
    epochs: Epochs = None
    train_set: TrainSet = None
    table: TablePath = None
    confidence: Confidence = 0.95
    fill: Fill = 0.0
    max_macs: MaxMacs = None
    max_params: MaxParams = None
    max_memory_bytes: MaxMemory = None
    measure_missing: MeasureMissing = False
    measure_doubtful: MeasureDoubtful = False
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
