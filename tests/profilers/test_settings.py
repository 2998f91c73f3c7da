from __future__ import annotations

import pytest

from profilers.settings import ProfileSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [("sessions", 0), ("runs", 0), ("warmup", -1), ("contexts", 0), ("networks", 0)],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: int | str) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        ProfileSettings(**{name: value})


def test_no_warmup_is_allowed() -> None:
    assert ProfileSettings(warmup=0) == ProfileSettings(warmup=0)
