"""Links that ask for what a control cannot take: what is told of them, and what is not."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def open_link() -> None:
    import streamlit as st

    from pages.parts import links

    links.read_link()
    st.slider("j", 1, 24, 12, key="j", bind="query-params")
    st.toggle("auto", key="auto", bind="query-params")
    st.pills("subspaces", [1, 2, 3], selection_mode="multi", key="subspaces", bind="query-params")
    st.slider("errors", 0, 100, (0, 100), key="errors", bind="query-params")
    st.segmented_control("by", ["Rate", "Dimension"], default="Rate", key="by", bind="query-params")
    if st.button("later"):
        st.number_input("seed", 0, 99, 0, key="seed", bind="query-params")
    links.say_ignored()


def toasts(app: AppTest) -> list[str]:
    assert not app.exception
    return [toast.value.split(", which")[0] for toast in app.toast]


def visit(**query: str | list[str]) -> AppTest:
    app = AppTest.from_function(open_link, default_timeout=30)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


@pytest.mark.parametrize(
    ("name", "value"),
    [("j", "-1"), ("j", "900"), ("j", "many"), ("by", "Colour"), ("subspaces", ["1", "9"])],
)
def test_what_cannot_be_taken_is_told(name: str, value: str | list[str]) -> None:
    told = toasts(visit(**{name: value}))
    assert len(told) == 1
    assert told[0].startswith(f"The link asks for {name}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("j", "7"),
        ("j", "12"),
        ("auto", "true"),
        ("by", "Rate"),
        ("by", "Dimension"),
        ("subspaces", ["1", "3"]),
        ("errors", ["10", "50"]),
        ("utm_source", "mail"),
    ],
)
def test_what_is_taken_is_no_news(name: str, value: str | list[str]) -> None:
    assert toasts(visit(**{name: value})) == []


def test_all_of_a_link_is_told_in_one_message() -> None:
    assert toasts(visit(j="-1", by="Colour")) == ["The link asks for by = Colour; j = \\-1"]


def test_it_is_told_once_and_when_the_control_is_there() -> None:
    app = visit(j="-1", seed="-5")
    assert len(toasts(app)) == 1
    assert toasts(app.run()) == []
    told = toasts(app.button[0].click().run())
    assert [text.split(" = ")[0] for text in told] == ["The link asks for seed"]
