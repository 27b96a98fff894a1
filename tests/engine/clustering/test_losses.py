"""Losses as functions: slopes are derivatives, tangents lie above, names are read back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.clustering.losses import LOSSES, SQUARED, Loss, parse_loss
from engine.errors import ParameterError

POWERS = ("l0.5", "l1", "l1.5")
CONVEX = ("l3", "l4")
SHAPES = tuple(name for name in LOSSES if name not in ("squared", "l1"))
EVERY = ("squared", *POWERS, *CONVEX, *SHAPES)
BOUNDED = {"geman-mcclure": 1.0, "welsch": 1.0, "tukey": 1 / 3, "truncated": 1.0}

squares = st.floats(0, 50)
scales = st.floats(0.05, 20)


def loss_of(name: str, scale: float = 0.7) -> Loss:
    loss = parse_loss(name)
    return loss if loss.squared else replace(loss, scale=scale)


def value(loss: Loss, squared: float) -> float:
    return float(loss.value(torch.tensor([squared], dtype=torch.float64)))


def slope(loss: Loss, squared: float) -> float:
    return float(loss.slope(torch.tensor([squared], dtype=torch.float64)))


def test_every_named_loss_is_tested() -> None:
    assert set(LOSSES) <= set(EVERY)


@pytest.mark.parametrize("name", EVERY)
@given(squared=st.floats(1e-3, 50), scale=scales)
def test_the_slope_is_the_derivative_of_the_value(name: str, squared: float, scale: float) -> None:
    loss = loss_of(name, scale)
    step = 1e-4 * squared
    # A kink (truncated's, at its scale) has no derivative there.
    if abs(squared - scale**2) <= 2 * step:
        return
    rise = value(loss, squared + step) - value(loss, squared - step)
    # Rounding of two values over the step (ℓ_q subtracts a power of its scale).
    slack = 2e-15 * (value(loss, squared) + scale**loss.power) / step
    slack += (step / scale**2) ** 2  # Tukey's slope bends where it ends
    assert rise / (2 * step) == pytest.approx(slope(loss, squared), rel=1e-4, abs=slack)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", EVERY)
@given(scale=scales)
def test_it_starts_at_zero_and_never_falls(name: str, dtype: torch.dtype, scale: float) -> None:
    loss = loss_of(name, scale)
    grid = torch.linspace(0, 50, 400, dtype=torch.float64).to(dtype)
    values, slopes = loss.value(grid), loss.slope(grid)
    assert values.dtype == slopes.dtype == dtype
    unit = torch.finfo(dtype).eps
    assert abs(float(values[0])) <= 8 * unit * max(1.0, scale**loss.power)
    assert bool((slopes >= 0).all())
    assert bool(torch.isfinite(slopes).all())
    assert float((values[1:] - values[:-1]).min()) >= -8 * unit * float(values.abs().max())


@pytest.mark.parametrize("name", [name for name in EVERY if name not in CONVEX])
@given(here=squares, there=squares, scale=scales)
def test_concave_losses_lie_under_their_tangents(
    name: str, here: float, there: float, scale: float
) -> None:
    loss = loss_of(name, scale)
    assert loss.concave
    tangent = value(loss, here) + slope(loss, here) * (there - here)
    assert value(loss, there) <= tangent + 1e-12 * (1 + abs(tangent) + slope(loss, here) * here)


@pytest.mark.parametrize("name", CONVEX)
def test_the_others_do_not(name: str) -> None:
    loss = loss_of(name)
    assert not loss.concave
    assert value(loss, 4.0) > value(loss, 1.0) + slope(loss, 1.0) * 3.0


@pytest.mark.parametrize("name", EVERY)
@given(squared=squares, scale=scales, factor=st.floats(0.1, 10))
def test_it_is_measured_in_its_scale(
    name: str, squared: float, scale: float, factor: float
) -> None:
    """Rows and scale stretched alike change every value alike: nothing depends on the units."""
    loss, stretched = loss_of(name, scale), loss_of(name, scale * factor)
    whole = factor**loss.power
    # ℓ_q is a difference of two powers of its scale where rows are near.
    slack = 1e-13 * (whole + (scale * factor) ** loss.power)
    assert value(stretched, squared * factor**2) == pytest.approx(
        whole * value(loss, squared), rel=1e-9, abs=slack
    )


@pytest.mark.parametrize("name", SHAPES)
@given(scale=scales)
def test_m_estimators_are_the_squared_distance_of_near_rows(name: str, scale: float) -> None:
    loss = loss_of(name, scale)
    assert loss.robust
    assert slope(loss, 0.0) == 1.0
    near = 1e-4 * scale**2
    assert value(loss, near) == pytest.approx(near, rel=1e-3)


@pytest.mark.parametrize(("name", "height"), BOUNDED.items())
@given(scale=scales)
def test_bounded_ones_take_no_more_from_the_farthest_row(
    name: str, height: float, scale: float
) -> None:
    loss = loss_of(name, scale)
    assert value(loss, 1e12 * scale**2) == pytest.approx(height * scale**2, rel=1e-6)
    assert slope(loss, 1e12 * scale**2) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Worked by hand at distance 2 (s = 4) with scale 1; huber: 2·2 − 1.
        ("squared", 4.0),
        ("huber", 3.0),
        ("cauchy", 1.6094379124341003),
        ("geman-mcclure", 0.8),
        ("welsch", 0.9816843611112658),
        ("tukey", 1 / 3),
        ("truncated", 1.0),
    ],
)
def test_values_by_hand(name: str, expected: float) -> None:
    assert value(loss_of(name, 1.0), 4.0) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("name", "power"), [("l0.5", 0.5), ("l1", 1.0), ("l3", 3.0)])
def test_powers_are_powers_of_the_distance_past_the_smoothing(name: str, power: float) -> None:
    assert value(loss_of(name, 1e-8), 9.0) == pytest.approx(3.0**power, rel=1e-3)


@given(st.sampled_from(EVERY[1:]), st.floats(1e-30, 1e30))
def test_text_is_read_back_as_the_same_loss(name: str, scale: float) -> None:
    loss = loss_of(name, scale)
    assert parse_loss(str(loss)) == loss
    assert parse_loss(f"{name}:{scale!r}") == loss
    plain = parse_loss(name)
    assert plain.needs_scale
    assert parse_loss(str(plain)) == plain


def test_the_squared_loss_goes_by_two_names() -> None:
    assert parse_loss("squared") is parse_loss("l2") is SQUARED
    assert not SQUARED.needs_scale
    assert str(SQUARED) == "squared"


@pytest.mark.parametrize("text", ["", "tuckey", "Huber", "l", "l-1", "lone", "tukey 0.8"])
def test_unknown_names_are_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(
        ParameterError, match=r"unknown loss .*; known are squared, l1, huber.*l<q>"
    ):
        parse_loss(text)


@pytest.mark.parametrize("text", ["l0", "l0.0", "l1.2.3", "l1e999"])
def test_powers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match=r"q in loss .* must be a positive number, got"):
        parse_loss(text)


@pytest.mark.parametrize("scale", ["", "0", "-1", "nan", "inf", "wide", "1:2"])
def test_scales_that_are_none_are_refused(scale: str) -> None:
    with pytest.raises(
        ParameterError, match=r"the scale in loss .* must be a positive number, got"
    ):
        parse_loss(f"tukey:{scale}")


def test_a_scale_of_the_squared_loss_is_refused() -> None:
    with pytest.raises(ParameterError, match="squared loss has no scale, got 'squared:2'"):
        parse_loss("squared:2")


@pytest.mark.parametrize("name", EVERY[1:])
def test_a_loss_without_its_scale_says_what_to_call(name: str) -> None:
    with pytest.raises(ParameterError, match="has no scale yet; call scaled_by first"):
        parse_loss(name).value(torch.ones(1))


@pytest.mark.parametrize("name", EVERY)
@given(mean=st.floats(1e-6, 1e6), median=st.floats(1e-3, 1e3), factor=st.floats(1e-2, 1e2))
def test_a_found_scale_stretches_with_the_rows(
    name: str, mean: float, median: float, factor: float
) -> None:
    one = parse_loss(name).scaled_by(mean, median)
    other = parse_loss(name).scaled_by(mean * factor**2, median * factor)
    assert not one.needs_scale
    if one.scale is None or other.scale is None:
        assert one.squared
        return
    assert other.scale == pytest.approx(one.scale * factor)


@pytest.mark.parametrize("name", EVERY[1:])
def test_a_scale_is_found_even_where_nothing_has_a_length(name: str) -> None:
    assert (parse_loss(name).scaled_by(0.0, 0.0).scale or 0.0) > 0
    assert loss_of(name, 0.3).scaled_by(4.0, 2.0).scale == 0.3  # the user's own stays
