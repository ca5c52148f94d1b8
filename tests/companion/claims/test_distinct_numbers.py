"""Each number counts once: equal numbers are found by their intervals and named by their reason."""

import pytest

from companion.claims.claims import reasons_of_equality
from companion.claims.distinct import Reason, first_same, why_same
from companion.claims.family import Number

ONE = Number(0.5, 0.1, 0.9, 1000)


@pytest.mark.parametrize(
    ("other", "source", "same"),
    [
        (Number(0.5, 0.1, 0.9, 1000), "A", 0),
        (Number(0.5 + 1e-8, 0.1, 0.9, 1000), "A", 0),  # rounding
        (Number(0.5, 0.1, 0.9, 1000), "B", None),
        (Number(0.5, 0.2, 0.9, 1000), "A", None),  # the same difference of other maps has another interval
        (Number(0.5, 0.1, 0.8, 1000), "A", None),
        (Number(0.6, 0.1, 0.9, 1000), "A", None),
        (Number(-0.5, -0.9, -0.1, 1000), "A", None),
        (None, "A", None),
    ],
)
def test_a_number_is_the_same_by_value_interval_and_data_set(
    other: Number | None, source: str, same: int | None
) -> None:
    assert first_same([ONE, other], ["A", source]) == [None, same]


def test_all_repetitions_point_to_the_first() -> None:
    assert first_same([None, ONE, ONE, None, ONE], "AAAAA") == [None, None, 1, None, 1]


def test_reasons_are_found_by_what_differs() -> None:
    reasons = [
        Reason("method", ("gradcam", "xgradcam"), "On a linear head.", "cam_family#thm-coincide"),
        Reason("experiment", ("one", "two"), "The same images."),
    ]
    cam, grad, xgrad = ({"experiment": "one", "method": name} for name in ("cam", "gradcam", "xgradcam"))
    assert why_same(grad, xgrad, reasons) is reasons[0]
    assert why_same(grad, grad | {"experiment": "two"}, reasons) is reasons[1]
    assert why_same(cam, grad, reasons).theorem == ""  # no theorem says so
    assert why_same(grad, grad | {"experiment": "three"}, reasons).words.startswith("The same images, heads and maps")


def test_the_project_s_reasons_name_what_is_proved() -> None:
    reasons = reasons_of_equality()
    assert {"method", "experiment", "comparison"} <= {reason.differs for reason in reasons}
    assert all(len(reason.values) >= 2 and reason.words.endswith(".") for reason in reasons)
