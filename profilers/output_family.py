"""Which version of benchmark_model wrote a text, as far as the text tells.

The tool promises no format. Six families are known:

* v0, TensorFlow 1: ``Average inference timings in us: Warmup: .., Init: .., Inference: ..``.
* v1, TensorFlow 2.0 to 2.4: ``Inference timings in us``; tables with a start column and tabs.
* v2, to 2.12: ``Explicitly applied .. delegate``, ``Memory footprint delta``.
* v3, from 2.13: ``INFO: `` before each message, no start column, rows from inside of delegates;
  later p5, median and p95.
* v4, LiteRT: a block ``BENCHMARK RESULTS`` in milliseconds, ``LiteRT::Run`` beside the operators.
* v5, LiteRT 2.3: tables without tabs, with calls of all inferences together.

The family is for records and messages. Nothing is read by it: each fact is looked for in all the
ways in which any of them says it, since builds between two releases mix them.
"""

from __future__ import annotations

import re

from profilers.operator_rows import OperatorTables

_OF_V4 = re.compile(r"BENCHMARK RESULTS|^INFO: \[(?:\./)?litert/|LiteRT::Run", re.MULTILINE)
# The runtime wrote "INFO: " years before the tool did.
_OF_V3 = re.compile(
    r"^INFO: (?:STARTING!|Log parameter|Graph: |Loaded model|Initialized session|Running benchmark"
    r"|count=|Inference timings|The input model)|Signature to run: |\bmedian=| for subgraph [0-9]",
    re.MULTILINE,
)
_OF_V2 = re.compile(r"Explicitly applied |Memory footprint delta ")
_OF_V0 = re.compile(r"Average inference timings in us: |\t  \[start\]\t")


def family_of(text: str, tables: OperatorTables) -> str:
    """One of "v0" to "v5"; v1 also where nothing tells."""
    if tables.has_totals:
        return "v5"
    if _OF_V4.search(text):
        return "v4"
    if tables.has_start is False or _OF_V3.search(text):
        return "v3"
    if _OF_V2.search(text):
        return "v2"
    return "v0" if _OF_V0.search(text) else "v1"
