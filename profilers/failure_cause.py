"""The ways in which benchmark_model fails on a phone, and how to tell them apart.

The tool itself knows two exit codes, 0 and 1; all else comes from the shell, the linker and the
kernel. It prints timings even when its last runs failed, so that the exit code is looked at first.

Source: google-ai-edge/LiteRT, tflite/tools/benchmark and litert/tools (texts of the tool); AOSP
bionic linker, mksh and toybox (texts of the phone).
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

# Half of a long output is profile rows, which say nothing about a failure.
_MAX_TEXT = 1 << 20


class FailureScope(Enum):
    """How far a failure reaches: TOOL is this phone, MODEL this model, RUN this one try."""

    TOOL = "tool"
    MODEL = "model"
    RUN = "run"


class FailureCause(Enum):
    """Why a run gave no usable time.

    Attributes:
        scope: Whether it makes sense to go on with another model, or to try again.
        what: What happened.
        remedy: What to do about it.
    """

    NOT_FOUND = (
        FailureScope.TOOL,
        "benchmark_model is not on the phone any more",
        "run it again, which installs it anew; something deletes files from /data/local/tmp",
    )
    NO_PERMISSION = (
        FailureScope.TOOL,
        "the phone does not allow benchmark_model to run",
        "use a folder below /data/local/tmp: other storage is mounted noexec",
    )
    WRONG_ABI = (
        FailureScope.TOOL,
        "benchmark_model is made for another kind of CPU",
        "give one for this phone's ABI with --benchmark-binary FILE",
    )
    NOT_LINKED = (
        FailureScope.TOOL,
        "benchmark_model needs libraries or symbols that this phone lacks",
        "give one built for this Android version with --benchmark-binary FILE",
    )
    NOT_PINNED = (
        FailureScope.TOOL,
        "the phone refuses the CPU mask",
        "give a mask of CPUs that it has and keeps online; --cpu-mask auto chooses one",
    )
    NO_SPACE = (
        FailureScope.TOOL,
        "the phone's disk is full",
        "delete files on the phone, for example in /data/local/tmp",
    )
    MODEL_MISSING = (
        FailureScope.MODEL,
        "the model is not on the phone",
        "push it again; something deletes files from /data/local/tmp",
    )
    MODEL_NOT_LOADED = (
        FailureScope.MODEL,
        "benchmark_model cannot load the model",
        "export it again; a model newer than the runtime needs a newer benchmark_model",
    )
    NEEDS_FLEX = (
        FailureScope.MODEL,
        "the model holds TensorFlow operators",
        "export it with TFLite's own operators only, or give a benchmark_model with Flex",
    )
    OPERATOR_NOT_PREPARED = (
        FailureScope.MODEL,
        "the runtime cannot prepare an operator of the model",
        "give a newer benchmark_model, or export without that operator",
    )
    DELEGATE_NOT_APPLIED = (
        FailureScope.MODEL,
        "the delegate refuses the model",
        "take another delegate, or export without the operator that it names",
    )
    CPU_FALLBACK = (
        FailureScope.MODEL,
        "the delegate that was asked for took no part of the model, which ran on the plain CPU",
        "take another delegate; such a time belongs to none",
    )
    INVOKE_FAILED = (
        FailureScope.MODEL,
        "the model loads but does not run",
        "take another delegate, or leave out the operator that the message names",
    )
    KILLED = (
        FailureScope.RUN,
        "the phone killed benchmark_model (signal 9)",
        "most often it is out of memory: close all apps, or measure a smaller model",
    )
    CRASHED = (
        FailureScope.MODEL,
        "benchmark_model crashed",
        "give another benchmark_model, and report the model to its makers",
    )
    ABORTED = (
        FailureScope.MODEL,
        "benchmark_model gave up (abort)",
        "its last line says why; a driver that lacks the delegate's needs ends so, too",
    )
    TRUNCATED = (
        FailureScope.RUN,
        "the time limit ended the runs early",
        "allow more seconds, or ask for fewer runs",
    )
    CLOCK_SET = (
        FailureScope.RUN,
        "the phone's clock was set during the runs, and this build times them by it",
        "switch automatic date and time off for the while, or give a newer benchmark_model",
    )
    NO_TIMES = (
        FailureScope.RUN,
        "benchmark_model printed no times",
        "run it once by hand on the phone",
    )
    UNKNOWN = (
        FailureScope.MODEL,
        "benchmark_model failed",
        "run it once by hand on the phone; its output says more",
    )

    def __init__(self, scope: FailureScope, what: str, remedy: str) -> None:
        self.scope = scope
        self.what = what
        self.remedy = remedy


# Bounded repeats: a phone may send a line of megabytes that is made to be slow to search.
class _Sign(NamedTuple):
    cause: FailureCause
    pattern: re.Pattern[str]


def _sign(cause: FailureCause, pattern: str) -> _Sign:
    return _Sign(cause, re.compile(pattern))


# Of the shell, the linker and taskset: they speak before the tool has started. The first fits.
_SIGNS_OF_THE_PHONE = (
    _sign(FailureCause.NOT_LINKED, r"CANNOT LINK EXECUTABLE|error while loading shared libraries"),
    _sign(
        FailureCause.WRONG_ABI,
        r"not executable: \d+-bit ELF|[Ee]xec format error|cannot execute binary file"
        r"|unexpected e_machine",
    ),
    _sign(
        FailureCause.NOT_PINNED,
        r"taskset: (?:.{0,200}(?:affinity|mask|Invalid argument)|(?:inaccessible or )?not found)",
    ),
)
# Of the tool. A delegate that fails to apply may name a node that failed to prepare, and a model
# that needs Flex does so always: the one that explains the other comes first.
_SIGNS_OF_THE_TOOL = (
    _sign(FailureCause.NO_SPACE, r"No space left on device"),
    _sign(
        FailureCause.NEEDS_FLEX, r"Select TensorFlow op\(s\)|\(Flex\w{1,100}\) failed to prepare"
    ),
    _sign(
        FailureCause.DELEGATE_NOT_APPLIED,
        r"Failed to apply .{0,200}delegate|Restored original execution plan after delegate"
        r"|Disallowed CPU fallback|Failed to compile model",
    ),
    _sign(
        FailureCause.OPERATOR_NOT_PREPARED, r"Node number \d{1,9} \(.{0,200}\) failed to prepare"
    ),
    _sign(FailureCause.INVOKE_FAILED, r"failed to invoke|Run failed"),
    _sign(FailureCause.MODEL_MISSING, r"Could not open |[Nn]o such file or directory"),
    _sign(
        FailureCause.MODEL_NOT_LOADED,
        r"Failed to (?:load|initialize) .{0,200}model|Failed to initialize the interpreter"
        r"|not a valid [Ff]latbuffer|[Ii]nvalid flatbuffer|Model provided has model identifier",
    ),
    # Nothing above, and yet it came to the end: the status of the last run was bad.
    _sign(FailureCause.INVOKE_FAILED, r"Inference timings in us|BENCHMARK RESULTS"),
)
_CAUSES_OF_EXIT_CODES = {
    126: FailureCause.NO_PERMISSION,
    127: FailureCause.NOT_FOUND,
    128 + 4: FailureCause.CRASHED,
    128 + 6: FailureCause.ABORTED,
    128 + 7: FailureCause.CRASHED,
    128 + 8: FailureCause.CRASHED,
    128 + 9: FailureCause.KILLED,
    128 + 11: FailureCause.CRASHED,
}
# mksh's answer when the program is there, but not the linker that it names.
_NO_LINKER = re.compile(r": No such file or directory")
_ERROR_LINE = re.compile(r"^.*(?:ERROR|FATAL|[Ff]ailed|rror:).*$", re.MULTILINE)
_EPITAPH = "Benchmarking failed."


def cause_of_failure(text: str, exit_code: int) -> tuple[FailureCause, str]:
    """Why a run ended with another exit code than 0, and the line that says so.

    Args:
        text: All that it wrote, of both outputs; any length.
        exit_code: In [1, 255].
    """
    text = text[-_MAX_TEXT:]
    ended_by_shell = exit_code in _CAUSES_OF_EXIT_CODES
    for cause, pattern in (
        _SIGNS_OF_THE_PHONE if ended_by_shell else _SIGNS_OF_THE_PHONE + _SIGNS_OF_THE_TOOL
    ):
        if found := pattern.search(text):
            return cause, _line_at(text, found.start())
    cause = _CAUSES_OF_EXIT_CODES.get(exit_code, FailureCause.UNKNOWN)
    if cause is FailureCause.NO_PERMISSION and _NO_LINKER.search(text):
        cause = FailureCause.NOT_LINKED
    return cause, f"exit code {exit_code}{_last_words(text)}"


def _line_at(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    return text[start : end if end >= 0 else len(text)].strip()


def _last_words(text: str) -> str:
    """The last line that tells of an error, else the last line."""
    lines = [line for line in _ERROR_LINE.findall(text) if _EPITAPH not in line]
    lines = lines or text.split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f", {last}" if last else ", without a word"
