"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.errors import ParameterError

if TYPE_CHECKING:
    from engine.grid import SweepConfig
    from engine.plans import CompressionConfig

_Command = TypeVar("_Command", bound=Callable[..., Any])
SIZES = {"rate": "--rate", "j": "-j", "max_bytes": "--max-bytes"}
"""The options that are each a plan's size, by the fields of a config."""


def source_options(command: _Command) -> _Command:
    """Which table, and how to print."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON for machines."),
        click.option("--tokens", help="File with one token a line, in row order."),
        click.option("--tensor", help="Name of the array in a .npz or .safetensors file."),
        click.argument("source"),
    ):
        command = option(command)
    return command


def fit_options(command: _Command) -> _Command:
    """How subspaces are fitted and rows weighted; named as the configs name them."""
    for option in (
        click.option(
            "--moves",
            type=int,
            help="Times to merge two subspaces and split another where that helps; 0 when left "
            "out.",
        ),
        click.option(
            "--weight-floor",
            type=float,
            help="With --weights: occurrences in a million added to every token, so that rare ones "
            "still count; 16 when left out.",
        ),
        click.option(
            "--weight-power",
            type=float,
            help="With --weights: 0 weighs all alike, 1 by occurrence; 0.5 when left out.",
        ),
        click.option(
            "--weights",
            metavar="LANGUAGE|FILE",
            help="Weigh tokens by use: how often each occurs in a language (en, de, …) or in a "
            "text file of yours; left out, all rows count alike.",
        ),
        click.option(
            "--loss",
            help="What a row's distance costs: squared when left out; far rows count less with l1, "
            "huber, cauchy, geman-mcclure, welsch, tukey or truncated.",
        ),
        click.option(
            "--affine",
            is_flag=True,
            help="Let subspaces miss zero; each then stores one row of numbers more.",
        ),
        click.option(
            "--allocation",
            metavar="uniform|optimal",
            help="uniform: every subspace has the same dimension; optimal: each gets what loses "
            "least within the same size.",
        ),
    ):
        command = option(command)
    return command


def plan_options(command: _Command) -> _Command:
    """A whole plan: its size, how it is fitted, and in how many bits it is kept."""
    for option in (
        click.option(
            "--basis-bits", type=int, help="With --bits: 16 or 8 for the bases; 16 when left out."
        ),
        click.option(
            "--bits",
            type=int,
            help="32, 8 or 4: store each row's coordinates in so many bits; 8 and 4 are rounded to "
            "with a step for each dimension of a subspace. 32 when left out.",
        ),
        click.option(
            "--seeding",
            default="auto",
            show_default=True,
            help="auto; directions, norms or random; or how many of each: directions=3,random=10.",
        ),
        click.option("--starts", type=int, default=10, show_default=True, help="Starts of EM."),
        click.option("--seed", type=int, default=0, show_default=True),
        fit_options,
        click.option("--rate", type=float, help="Share of the parameters to remove, 0 to 1."),
        click.option(
            "-j",
            help="Dimension of each subspace, or one for each: 164,113,6; give this or --rate.",
        ),
        click.option(
            "-k",
            help="Number of subspaces, or auto for the one of several that loses least; when left "
            "out 5, 1 for the SVD, 4 for coded, where auto tries 1, 2, 4 and 8.",
        ),
        click.option(
            "--max-bytes",
            metavar="BYTES",
            help="Size of coded subspaces, in place of -j or --rate: 750108, 1.1MB, or 3% of the "
            "table in 32 bits.",
        ),
        click.option(
            "--method", help="messi, svd or coded; messi when left out, coded with --max-bytes."
        ),
    ):
        command = option(command)
    return command


def check_options(command: _Command) -> _Command:
    """What checks are told; named as `engine.evaluation.subject.CheckOptions` names them."""
    for option in (
        click.option("--probe-task", help="The GLUE task of the check probe; sst2 when left out."),
        click.option(
            "--text", help="Text file, one sentence a line, instead of the built-in sentences."
        ),
        click.option(
            "--data",
            help="Folder of GLUE as TSV files, and of word sets; SUBSPACE_ATLAS_DATA names it too.",
        ),
    ):
        command = option(command)
    return command


def read_plan(options: dict[str, Any], source: str = "") -> CompressionConfig:
    """The config that the values of `plan_options` come to.

    Args:
        options: Those values.
        source: What is to be compressed. That it is not there is told before a missing size, which
            is the mistake of whom has only begun; where the size is given it is not looked for.

    Raises:
        ParameterError: If one is out of range or cannot be read.
        SourceError: If the source is not there.
    """
    from engine.plans import CompressionConfig
    from engine.requests import SizeError

    fields = read_fields(options)
    try:
        return CompressionConfig(**fields)
    except SizeError as error:
        _check_the_rest(fields, source)
        raise ParameterError(_say_size(options)) from error


def _check_the_rest(fields: dict[str, Any], source: str) -> None:
    """What else is wrong, as far as that can be told without reading the source."""
    from engine.frequencies import DEFAULT_FLOOR, DEFAULT_POWER
    from engine.frequencies.row_use import NO_WEIGHTS, check_row_use
    from engine.sources import check_source

    check_row_use(
        fields.get("weights", NO_WEIGHTS),
        fields.get("weight_power", DEFAULT_POWER),
        fields.get("weight_floor", DEFAULT_FLOOR),
    )
    if source:
        check_source(source)


def _say_size(options: dict[str, Any]) -> str:
    """What is wrong about the size, by the names that options have."""
    told = [option for name, option in SIZES.items() if options[name] is not None]
    method = options["method"]
    wrong = "no size is given"
    if len(told) > 1:
        wrong = f"{', '.join(told[:-1])} and {told[-1]} are given, and each is a size by itself"
    elif told:
        wrong = f"{told[0]} is no size of --method {method}"
    plain = "--rate (the share to remove)", "-j (the dimension)"
    coded = "--max-bytes (the size of coded subspaces)"
    if method == "coded":
        return f"{wrong}; give {coded}"
    if method is None:
        return f"{wrong}; give one of {', '.join(plain)} and {coded}"
    return f"{wrong}; give one of {' and '.join(plain)}"


def read_fields(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of a config that the values of `plan_options` come to: those that were given.

    Raises:
        ParameterError: If one cannot be read.
    """
    values = {
        **options,
        "k": parse_k(options["k"]),
        "j": parse_j(options["j"]),
        "seeding": parse_seeding(options["seeding"]),
        "n_init": options["starts"],
    }
    del values["starts"]
    if values["method"] is None and values["max_bytes"] is not None:
        values["method"] = "coded"
    if values["bits"] == 32:  # as the table itself has them: nothing is rounded
        values["bits"] = None
    return given(values)


def read_grid(options: dict[str, Any]) -> SweepConfig:
    """The grid that the options of `sweep` come to.

    Raises:
        ParameterError: If one is out of range or cannot be read.
    """
    from engine.grid import SweepConfig

    values = {**options, "n_init": options["starts"]}
    del values["starts"]
    for name, option, kind in (
        ("rates", "--rates", float),
        ("ks", "-k", int),
        ("seeds", "--seeds", int),
        ("bits", "--bits", int),
        ("shares", "--shares", float),
    ):
        values[name] = tuple(parse_list(option, options[name], kind))
    return SweepConfig(**given(values))


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given: the configs know what the others are."""
    return {name: value for name, value in options.items() if value is not None}


def parse_k(text: str | None) -> int | str | None:
    """A number of subspaces, or "auto".

    Raises:
        ParameterError: If it is neither.
    """
    if text is None or text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise ParameterError(f"-k takes a whole number or auto, got {text!r}") from None


def parse_j(text: str | None) -> int | list[int] | None:
    """One dimension, or one for each subspace.

    Raises:
        ParameterError: If there is something else than whole numbers.
    """
    if text is None:
        return None
    dimensions = parse_list("-j", text, int)
    if not dimensions:
        raise ParameterError(f"-j takes a whole number, or one for each subspace, got {text!r}")
    return dimensions if "," in text else dimensions[0]


def parse_list(option: str, text: str, kind: type[Any]) -> list[Any]:
    """Numbers with commas between.

    Raises:
        ParameterError: If there is something else.
    """
    try:
        return [kind(part) for part in text.split(",") if part.strip()]
    except ValueError:
        noun = "whole numbers" if kind is int else "numbers"
        raise ParameterError(f"{option} takes {noun} with commas between, got {text!r}") from None


def parse_seeding(text: str) -> str | dict[str, int]:
    """A seeding's name, or how many starts of each.

    Raises:
        ParameterError: If a count is no number or a name comes twice.
    """
    if "=" not in text:
        return text
    try:
        pairs = [part.split("=", 1) for part in text.split(",")]
        counts = {name.strip(): int(count) for name, count in pairs}
    except ValueError:
        raise ParameterError(
            f"--seeding takes counts as in directions=3,random=10, got {text!r}"
        ) from None
    if len(counts) < len(pairs):
        raise ParameterError(f"--seeding names one kind twice, got {text!r}; add the counts up")
    return counts
