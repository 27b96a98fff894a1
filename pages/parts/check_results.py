"""What checks found: a sentence, a chart a check, the table behind them, the notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from engine.evaluation.checks import CHECKS
from engine.evaluation.results import CheckResult, Score
from engine.evaluation.scores import Interval
from pages.parts.check_chart import check_chart, loss_word, printed_loss, score_glyph
from pages.parts.evaluations import Measured, of_other_plans
from pages.parts.palette import BETTER, WORSE
from pages.parts.wording import decimals, interval, literal, short_bytes

_COLUMNS = 3  # charts beside each other at most; under each other where it is narrow
_LEGEND = (
    "Drop against stored bytes, with 95 % intervals; zero is the original. Variants of one size "
    "stand side by side. Other plans of this table that had the same check are drawn faint."
)
# What is asked first stands first: a phone shows three columns.
_RESULT_COLUMNS = ("Check", "Variant", "Drop", "Beyond chance", "Value", "Stored", "Seconds", "n")


def show_results(found: dict[str, Measured], measured: tuple[Measured, ...], *, name: str) -> None:
    """Everything known of a plan.

    Args:
        found: Check → its last finding for the plan at hand.
        measured: All findings for the table, to compare with.
        name: Of the table, for the downloaded file.
    """
    results = [item.result for item in found.values()]
    st.markdown(f":material/balance: {say_who_loses(results)}")
    _show_charts(list(found.values()), measured)
    st.caption(_LEGEND)
    show_figures(results, name=name)


def show_figures(results: Sequence[CheckResult], *, name: str) -> None:
    """Every figure of some checks in a table, their notes, and what else each variant has.

    Args:
        results: One a check.
        name: Of the table, for the downloaded file.
    """
    _show_table(results, name=name)
    for result in results:
        for note in result.notes:
            st.caption(f":material/info: {literal(title_of(result.check))}: {literal(note)}")
    _show_details(results)


def title_of(check: str) -> str:
    """What people call a check; its name where this version no longer has it."""
    return CHECKS[check].title if check in CHECKS else check


def say_who_loses(results: Sequence[CheckResult]) -> str:
    """Of each variant, ours first: the checks in which it is clearly worse than the original."""
    lost: dict[str, list[str]] = {}
    judged = [result for result in results if not result.agreement]
    for result in judged:
        for score in result.scores[1:]:
            checks = lost.setdefault(score.variant, [])
            if result.loss(score).low > 0:
                checks.append(title_of(result.check))
    clauses = [
        f"**{literal(variant)}** {_say_lost(checks, len(judged))}"
        for variant, checks in lost.items()
    ]
    against = f"Against the original, {'; '.join(clauses)}." if clauses else ""
    own = [f"*{literal(title_of(result.check))}*" for result in results if result.agreement]
    moved = f" {' and '.join(own)} only says how far each moves from it." if own else ""
    return f"{against}{moved}{_say_against_svd(results)}".strip()


def _say_lost(checks: Sequence[str], count: int) -> str:
    if not checks:
        return "shows no drop that chance could not explain"
    if len(checks) == count:
        return "is clearly worse" if count == 1 else f"is clearly worse in all {count} checks"
    *others, last = (f"*{literal(check)}*" for check in checks)
    return f"is clearly worse in {', '.join(others)}{' and ' * bool(others)}{last}"


def _say_against_svd(results: Sequence[CheckResult]) -> str:
    """Where ours does better or worse than the SVDs of its size; nothing where not compared."""
    leads = [
        found for result in results if (found := [*filter(None, map(result.lead, result.scores))])
    ]
    if not leads:
        return ""
    better = sum(all(lead.low > 0 for lead in found) for found in leads)
    worse = sum(any(lead.high < 0 for lead in found) for found in leads)
    svd = "every SVD" if max(map(len, leads)) > 1 else "the SVD"
    if len(leads) == 1:
        said = "better" if better else "worse" if worse else "neither better nor worse"
        return f" Beside {svd} of its size the plan is {said}, beyond chance."
    counts = f"better in {better or 'none'} of {len(leads)}, worse in {worse or 'none'}"
    return f" Beside {svd} of its size the plan is {counts}, beyond chance."


def _show_charts(found: Sequence[Measured], measured: tuple[Measured, ...]) -> None:
    theme = st.context.theme.type or "light"
    count = 2 if len(found) in (1, 2, 4) else _COLUMNS  # no row of one beside two holes
    for begin in range(0, len(found), count):
        columns = st.columns(count, gap="small")
        for column, item in zip(columns, found[begin : begin + count], strict=False):
            with column.container(border=True, height="stretch", key=f"result-{item.result.check}"):
                _show_chart(item, of_other_plans(measured, item), theme)


def _show_chart(item: Measured, others: tuple[CheckResult, ...], theme: str) -> None:
    result = item.result
    st.markdown(f"**{literal(title_of(result.check))}**")
    st.caption(literal(result.metric))
    st.plotly_chart(
        check_chart(result, others=others, theme=theme),
        key=f"chart-{result.check}",
        config={"displaylogo": False, "displayModeBar": False},
        alt=f"{title_of(result.check)}: {loss_word(result)} against stored bytes, with 95 % "
        "intervals. The same figures are in the table below.",
    )
    # Lines of one paragraph: a paragraph each would stand far apart.
    st.markdown(
        "  \n".join(
            f"{score_glyph(score)} {literal(score.variant)}: {_say_loss(result, score)}"
            f"{_say_lead(result, score)}"
            for score in result.scores[1:]
        )
    )
    better = "higher" if result.higher_is_better else "lower"
    st.caption(f"{result.n:,} items, {better} is better · {item.made:%d %b %H:%M}")


def _say_loss(result: CheckResult, score: Score) -> str:
    loss = printed_loss(result, score)
    if not loss.excludes_zero:
        return f"no clear {loss_word(result)}, {decimals(loss.value)} {interval(loss)}"
    if loss.low > 0:
        return f"**{loss_word(result)} {decimals(loss.value)}** {interval(loss)}"
    return f"**better by {decimals(-loss.value)}** {interval(loss.negated())}"


def _say_lead(result: CheckResult, svd: Score) -> str:
    """How far ours is ahead of an SVD, with what chance may do to that."""
    lead = result.lead(svd)
    if lead is None:
        return ""
    return f"; the plan is ahead of it by {decimals(lead.value)} {interval(lead)}"


def _show_table(results: Sequence[CheckResult], *, name: str) -> None:
    theme = st.context.theme.type or "light"
    pairs = [(result, score) for result in results for score in result.scores]
    frame = pd.DataFrame([_row(*pair) for pair in pairs], columns=list(_RESULT_COLUMNS))

    def emphasise(_: object) -> list[str]:
        return [_emphasis(*pair, theme=theme) for pair in pairs]

    st.markdown("**Every figure**")
    st.dataframe(
        frame.style.apply(emphasise, subset=["Drop"]),
        hide_index=True,
        height="content",
        column_config={
            "Value": st.column_config.TextColumn(help="With its 95 % interval"),
            "Drop": st.column_config.TextColumn(
                help="How much worse than the original, item by item on the same items, with its "
                "95 % interval; a rise where lower is better. Below zero: better."
            ),
            "Beyond chance": st.column_config.TextColumn(
                help="yes: the interval of the drop leaves out zero"
            ),
            "Seconds": st.column_config.NumberColumn(format="%.1f"),
            "n": st.column_config.NumberColumn(format="localized", help="Items measured"),
        },
    )
    st.download_button(
        "Download every figure as CSV",
        _csv_frame(pairs).to_csv(index=False).encode(),
        f"{name}-checks.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _show_details(results: Sequence[CheckResult]) -> None:
    """Further figures of each variant, folded away; nothing where there are none."""
    rows = [
        {"Check": title_of(result.check), "Figure": name, **values}
        for result in results
        for name, values in _by_variant(result.details, [s.variant for s in result.scores])
    ]
    if rows:
        with st.expander("Further figures", icon=":material/more_horiz:"):
            st.dataframe(pd.DataFrame(rows), hide_index=True, placeholder="–")


def _by_variant(
    details: dict[str, Any], variants: Sequence[str], above: str = ""
) -> Iterator[tuple[str, dict[str, str]]]:
    """Every figure in the details that each variant has one of, with its name."""
    for name, values in details.items():
        if not isinstance(values, dict):
            continue
        full = f"{above}{name}"
        if set(values) <= set(variants):
            yield full, {variant: _cell(value) for variant, value in values.items()}
        else:
            yield from _by_variant(values, variants, f"{full}: ")


def _cell(value: float | dict[str, float]) -> str:
    """A number, with its interval where it has one."""
    if isinstance(value, dict):
        found = Interval(**value)
        return f"{decimals(found.value)} {interval(found)}"
    return decimals(value)


def _row(result: CheckResult, score: Score) -> tuple[object, ...]:
    loss = printed_loss(result, score)
    original = score.role == "original"
    return (
        title_of(result.check),
        score.variant,
        "" if original else f"{decimals(loss.value)} {interval(loss)}",
        "" if original else "yes" if loss.excludes_zero else "no",
        f"{decimals(score.value.value)} {interval(score.value)}",
        short_bytes(score.stored_bytes),
        score.seconds,
        result.n,
    )


def _emphasis(result: CheckResult, score: Score, *, theme: str) -> str:
    loss = result.loss(score)
    if score.role == "original" or not loss.excludes_zero:
        return ""
    return f"font-weight: bold; color: {(WORSE if loss.low > 0 else BETTER)[theme]}"


def _lead_columns(lead: Interval | None) -> dict[str, float | None]:
    """By how much the plan is better than the SVD of this line."""
    return {
        "plan_ahead": lead and lead.value,
        "plan_ahead_low": lead and lead.low,
        "plan_ahead_high": lead and lead.high,
    }


def _csv_frame(pairs: Sequence[tuple[CheckResult, Score]]) -> pd.DataFrame:
    """The plain figures, a column each."""
    return pd.DataFrame(
        [
            {
                "check": result.check,
                "metric": result.metric,
                "higher_is_better": result.higher_is_better,
                "n": result.n,
                "variant": score.variant,
                "role": score.role,
                "parameters": score.parameters,
                "stored_bytes": score.stored_bytes,
                "value": score.value.value,
                "value_low": score.value.low,
                "value_high": score.value.high,
                "loss": result.loss(score).value,
                "loss_low": result.loss(score).low,
                "loss_high": result.loss(score).high,
                **_lead_columns(result.lead(score)),
                "seconds": score.seconds,
            }
            for result, score in pairs
        ]
    )
