"""Files of other tools, as those tools write them.

OFA is cut from once-for-all's ``latency_table@note10/160_lookup_table.yaml``; PROXYLESS is the row
of ``mobile_trim.yaml`` that once-for-all's issue 37 quotes; CONV has the columns that nn-Meter's
``extract_feature.py`` writes for its example ``conv-bn-relu`` (14, 98, 120, 3, 1, 42.001 ms).
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from latency_tables.errors import ForeignUnreadable, TableForeign, TargetMismatch
from latency_tables.foreign import import_table, require_own
from latency_tables.kernel import parse_kernel
from latency_tables.store import load_table, save_table
from latency_tables.table import LatencyTable

OFA = """\
AvgPool2D-input:5x5x1152-output:1x1x1152:
  count: 491
  mean: 0.008482688391038698
  std: 0.0006733248071883371
Conv-input:160x160x3-output:80x80x24:
  count: 498
  mean: 0.495562248995984
  std: 0.010239557348882489
Logits-input:1x1x1536-output:1000:
  count: 499
  mean: 0.656440881763527
  std: 0.07729654276272765
expanded_conv-input:10x10x136-output:10x10x136-expand:408-kernel:3-stride:1-idskip:1-se:1-hs:1:
  count: 100
  mean: 0.86918
  std: 0.013281099352086765
"""

PROXYLESS = """\
expanded_conv-input:7x7x192-output:7x7x320-expand:6-kernel:5-stride:1-idskip:0:
  count: 154
  mean: 5.264772727272727
  var: 0.19495998666150827
"""

CONV = """\
model_path,HW,CIN,COUT,KERNEL_SIZE,STRIDES,feature_0,feature_1,latency
conv-bn-relu_prior_KAXM7J,14,98,120,3,1,10.39,0.106,42.001
conv-bn-relu_prior_B2QZ81,28,98,120,3,2,10.39,0.106,44.0
conv-bn-relu_prior_77A1MM,28,98,120,3,2,10.39,0.106,46.0
"""


def imported(folder: Path, name: str, text: str) -> LatencyTable:
    (folder / name).write_text(text)
    return import_table(folder / name)


def test_layers_of_once_for_all_are_kernels_of_their_own(tmp_path: Path) -> None:
    table = imported(tmp_path, "160_lookup_table.yaml", OFA)
    means = {kernel.key: row.median_ms for kernel, row in table.rows.items()}
    assert means == {
        "ofa.AvgPool2D 1x5x5x1152 -> 1x1x1x1152 act=linear float32": 0.008482688391038698,
        "ofa.Conv 1x160x160x3 -> 1x80x80x24 act=linear float32": 0.495562248995984,
        "ofa.Logits 1x1x1x1536 -> 1x1000 act=linear float32": 0.656440881763527,
        "ofa.expanded_conv 1x10x10x136 -> 1x10x10x136 expand=408 hs=1 idskip=1 kernel=3 se=1 "
        "stride=1 act=linear float32": 0.86918,
    }
    (_, _, _, block) = table.rows.values()
    assert block.samples == 100
    assert math.isnan(block.p95_ms)
    assert math.isnan(block.iqr_ms)


def test_proxylessnas_is_told_from_once_for_all(tmp_path: Path) -> None:
    (kernel,) = imported(tmp_path, "mobile_trim.yaml", PROXYLESS)
    assert (kernel.kind, kernel.attribute("expand")) == ("proxylessnas.expanded_conv", "6")


def test_kernels_of_nn_meter_keep_their_configuration(tmp_path: Path) -> None:
    table = imported(tmp_path, "Data_conv-bn-relu_prior.csv", CONV)
    kind, window = "nn-meter.conv-bn-relu", "kernel=3x3 padding=same"
    assert {kernel.key: row.median_ms for kernel, row in table.rows.items()} == {
        f"{kind} 1x14x14x98 -> 1x14x14x120 {window} stride=1x1 act=linear float32": 42.001,
        f"{kind} 1x28x28x98 -> 1x14x14x120 {window} stride=2x2 act=linear float32": 45.0,
    }


@pytest.mark.parametrize(
    ("head", "row", "key"),
    [
        ("CIN,COUT", "fc_a_1,512,10", "fc 1x512 -> 1x10"),
        ("HW,CIN", "hswish_a_1,28,24", "hswish 1x28x28x24 -> 1x28x28x24"),
        ("HW,CIN", "global-avgpool_a_1,7,24", "global-avgpool 1x7x7x24 -> 1x24"),
        (
            "HW,CIN,COUT,KERNEL_SIZE,POOL_STRIDES",
            "maxpool_a_1,7,24,24,3,2",
            "maxpool 1x7x7x24 -> 1x4x4x24 kernel=3x3 padding=same stride=2x2",
        ),
    ],
)
def test_other_kernels_of_nn_meter_are_read(tmp_path: Path, head: str, row: str, key: str) -> None:
    table = imported(tmp_path, "d.csv", f"model_path,{head},latency\n{row},1.5\n")
    assert [kernel.key for kernel in table] == [f"nn-meter.{key} act=linear float32"]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.yaml", "relu: 3\n", "line 1 is neither a layer"),
        ("a.yaml", "  mean: 3\n", "line 1 is neither a layer"),
        ("a.yaml", OFA + "expanded_conv-input:axb-output:1:\n", "line 17 is neither"),
        ("a.yaml", OFA.rsplit("  mean", 1)[0], "has no mean; is the file cut off"),
        ("a.yaml", "", "it is empty"),
        ("a.csv", "alexnet_0,83.3,84.5,0.014\n", "model_path and latency are not there"),
        ("a.csv", CONV.replace(",98,", ",many,"), "line 2 of the file: .*many"),
        ("a.csv", CONV.replace("STRIDES", "STEPS"), "line 2 of the file: 'STRIDES'"),
        ("a.csv", "model_path,HW,CIN,latency\nsplit_a_1,7,8,1\n", "'split' of nn-Meter are not"),
        ("a.csv", CONV.splitlines()[0] + "\n", "it is empty"),
        ("a.json", "{}", "ends in .json; tables are imported from"),
    ],
)
def test_what_is_not_read_faithfully_is_refused_in_one_line(
    tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    with pytest.raises(ForeignUnreadable, match=complaint) as caught:
        imported(tmp_path, name, text)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ForeignUnreadable, match="No such file"):
        import_table(tmp_path / "none.yaml")
    (tmp_path / "photo.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ForeignUnreadable, match=r"cannot import .*photo\.csv"):
        import_table(tmp_path / "photo.csv")


def test_an_imported_table_is_saved_and_still_foreign(tmp_path: Path) -> None:
    save_table(imported(tmp_path, "o.yaml", OFA), tmp_path / "t")
    loaded = load_table(tmp_path / "t")
    assert parse_kernel("ofa.Conv 1x160x160x3 -> 1x80x80x24 act=linear float32") in loaded
    assert loaded.calibration is None
    with pytest.raises(
        TableForeign, match=r"o\.yaml of once-for-all.*not searched with; make one"
    ):
        require_own(loaded, "searched with")


def test_two_files_never_pass_for_one_target(tmp_path: Path) -> None:
    first = imported(tmp_path, "o.yaml", OFA)
    second = imported(tmp_path, "o.yaml", OFA.replace("0.86918", "0.9"))
    assert imported(tmp_path, "o.yaml", OFA).target == first.target
    with pytest.raises(TargetMismatch, match="fingerprint"):
        first.target.require_same(second.target)
