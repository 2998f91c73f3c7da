"""``pocketnas zoo``: published networks, rebuilt and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli_options import Json
from cli_steps import print_result, usage, write_file

zoo_app = typer.Typer(help="Published networks, rebuilt and counted.", no_args_is_help=True)


@zoo_app.command("list")
def zoo_list(as_json: Json = False) -> None:
    """List the networks there are."""
    from toolchain.zoo import RECURRENT_ZOO, ZOO

    names = sorted({*ZOO, *RECURRENT_ZOO})
    print_result(names if as_json else "\n".join(names))


@zoo_app.command("show")
def zoo_show(
    name: Annotated[str | None, typer.Argument(help="Name of the network.")] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A graph or a ScaleNet as JSON, instead of a name."),
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw the network into this file.")] = None,
    as_json: Json = False,
) -> None:
    """Count a network: parameters (batch norm apart), MACs, memory."""
    from toolchain.count import count
    from toolchain.draw import draw_svg
    from toolchain.zoo import RECURRENT_ZOO, make_network, read_network

    if (name is None) == (source is None):
        raise typer.BadParameter("give the name of a network, or --from FILE.json")
    if name is not None and name in RECURRENT_ZOO:
        if svg:
            raise typer.BadParameter(f"{name} is a recurrent network, which --svg cannot draw")
        _print_counts({"name": name, **RECURRENT_ZOO[name]().to_json()}, as_json=as_json)
        return
    with usage():
        graph = read_network(source) if source else make_network(str(name))
    if svg:
        write_file(svg, draw_svg(graph).encode())
    known = {"name": graph.name, "input": list(graph.input_shape), **count(graph).to_json()}
    _print_counts(known, as_json=as_json)


def _print_counts(known: dict[str, Any], *, as_json: bool) -> None:
    """As JSON, or a line each; shapes with crosses, numbers with commas."""
    if as_json:
        print_result(known)
        return
    texts = {
        key: "x".join(map(str, value)) if isinstance(value, list) else value
        for key, value in known.items()
    }
    print_result(
        "\n".join(
            f"{key:<20}{value:,}" if isinstance(value, int) else f"{key:<20}{value}"
            for key, value in texts.items()
        )
    )


@zoo_app.command("export")
def zoo_export(
    name: Annotated[str, typer.Argument(help="Name of the network.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", dir_okay=False, help="TFLite file to write.")
    ],
) -> None:
    """Write a network as TFLite with random weights, to measure its latency."""
    from toolchain.export.flatbuffer import random_weights, write_tflite
    from toolchain.kernels import plan
    from toolchain.zoo import make_network

    kernels = plan(make_network(name))
    write_file(output, write_tflite(kernels, random_weights(kernels, seed=0)))
    print_result(f"{output}: random weights\nnext: pocketnas benchmark {output}")
