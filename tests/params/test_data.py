"""The sections collect, ingest and dataset, without a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.params import Params, ParamsError

FRACTION = st.floats(0.0, 0.99)


@given(val=FRACTION, test=FRACTION)
def test_splits_leave_something_to_train_on(params: Params, val: float, test: float) -> None:
    if val + test < 1:
        changed = params.override("dataset", val_fraction=val, test_fraction=test)
        assert changed.dataset.val_fraction == val
    else:
        with pytest.raises(ParamsError, match="must leave a share for training"):
            params.override("dataset", val_fraction=val, test_fraction=test)


@pytest.mark.parametrize("source", ["recordings", ["recordings/a", "recordings/b"]])
def test_a_source_is_one_path_or_several(params: Params, source: object) -> None:
    found = params.override("ingest", source=source).ingest.source
    assert str(found) == source or [str(path) for path in found] == source  # type: ignore[union-attr]
