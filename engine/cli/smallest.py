"""`compress --max-drop`: the size is found by a check instead of given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.table import Table

from engine.cli.evaluating import ranged
from engine.cli.options import SIZES, check_options, given, read_fields
from engine.cli.screen import plain_console
from engine.errors import ParameterError
from engine.wording import short_bytes

if TYPE_CHECKING:
    from engine.evaluation.sizes import SizeSearch
    from engine.methods import Fitter
    from engine.progress import ProgressCallback
    from engine.table import EmbeddingTable

_Command = TypeVar("_Command", bound=Callable[..., Any])
_TOLD = {"data": "--data", "text": "--text", "probe_task": "--probe-task"}


def size_options(command: _Command) -> _Command:
    """How much may be lost, and by which check."""
    for option in (
        check_options,
        click.option(
            "--check",
            metavar="NAME",
            help="What --max-drop is measured by: valence, words, fidelity, stsb, language, probe.",
        ),
        click.option(
            "--max-drop",
            type=float,
            help="Find the smallest coded subspaces that lose no more than so much on "
            "--check, in its own points, in place of --max-bytes, -j or --rate.",
        ),
    ):
        command = option(command)
    return command


class SizeRequest:
    """What `size_options` came to, taken out of a command's options and checked."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Take what is not part of a plan, and refuse what contradicts itself.

        Args:
            options: Of the command; what this takes is removed.

        Raises:
            ParameterError: If one option needs or excludes another.
        """
        self.max_drop: float | None = options.pop("max_drop")
        self._check: str | None = options.pop("check")
        self._told = given({name: options.pop(name) for name in _TOLD})
        if self.max_drop is None:
            asked = ["--check"] if self._check is not None else []
            asked += [_TOLD[name] for name in self._told]
            if asked:
                raise ParameterError(
                    f"{asked[0]} says how --max-drop is measured, and that is not given; give it "
                    "as well, or run subspace-atlas evaluate"
                )
            return
        if self._check is None:
            raise ParameterError(
                f"--max-drop {self.max_drop:g} needs a check to be measured by; name one with "
                "--check, as in --check stsb"
            )
        known = {**SIZES, "bits": "--bits"}
        sizes = [option for name, option in known.items() if options[name] is not None]
        method = options["method"]
        sizes += [f"--method {method}"] if method not in (None, "coded") else []
        if sizes:
            raise ParameterError(
                f"--max-drop finds the size of coded subspaces by itself, got {sizes[0]} as well; "
                "leave one of the two out"
            )

    def find(
        self,
        source: str | EmbeddingTable,
        plan: dict[str, Any],
        fitter: Fitter,
        progress: ProgressCallback,
    ) -> SizeSearch:
        """Find the smallest size; only where there is a ``max_drop``.

        Args:
            source: What `engine.find_smallest` takes.
            plan: The values of `engine.cli.options.plan_options`.
            fitter: Who fits the command's plans.
            progress: Called throughout; may raise to stop.

        Raises:
            EngineError: As `engine.find_smallest`; or if several processes fit.
        """
        from engine.evaluation.smallest import find_smallest
        from engine.methods import fit_alone

        if fitter is not fit_alone:
            raise ParameterError(
                "--max-drop fits coded subspaces, in one process; run the command without torchrun"
            )
        assert self.max_drop is not None
        assert self._check is not None
        return find_smallest(
            source,
            self._check,
            max_drop=self.max_drop,
            progress=progress,
            **self._told,
            **read_fields(plan),
        )


def show_search(found: SizeSearch) -> None:
    """Every size that was tried, the chosen one marked; then what the user should know."""
    console = plain_console()
    title = f"Sizes of {found.name} tried on {found.check}: {found.metric}, {found.n:,} items"
    table = Table(title=title, title_justify="left")
    table.add_column("of the bytes", no_wrap=True)
    for heading in ("stored", "value", "drop", "s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for trial in found.trials:
        mark = "*" if trial == found.chosen else ""
        table.add_row(
            f"{trial.max_bytes}{mark}",
            short_bytes(trial.stored_bytes),
            ranged(trial.value),
            ranged(trial.drop),
            f"{trial.seconds:.1f}",
        )
    console.print(table)
    console.print(f"* taken: the smallest that loses at most {found.max_drop:g}")
    for note in found.notes:
        console.print(f"Note: {note}")
