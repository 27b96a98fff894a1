"""`evaluate`: quick checks of a model, its smaller embedding, and the SVDs of that size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.errors import Cancelled, EngineError, ParameterError
from engine.evaluation.checks import CHECKS
from engine.evaluation.checks.check import Check
from engine.evaluation.checks.fidelity import read_sentences
from engine.evaluation.folders import CompressedFolder, open_compressed
from engine.evaluation.measuring import run_check
from engine.evaluation.results import CheckResult
from engine.evaluation.subject import CheckOptions, Subject
from engine.evaluation.variants import Variant, fit_variants, original
from engine.plans import CompressionConfig
from engine.progress import ProgressCallback, ignore_progress
from engine.sources import load_table
from engine.table import EmbeddingTable

DEFAULT_CHECKS = ("valence", "fidelity")
_OWN = ("data", "text", "probe_task")  # what checks are told; the seed goes to the plan as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What checks found.

    Attributes:
        name: Of the model.
        variants: What was compared: name, role and sizes of each, the original first.
        results: One a check that was finished.
        failures: Check → why it could not be.
        seconds: Time of all, fitting included.
        notes: What the user should know, each a full sentence.
    """

    name: str
    variants: tuple[dict[str, Any], ...]
    results: tuple[CheckResult, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    failures: dict[str, str] = field(default_factory=dict[str, str])

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "name": self.name,
            "variants": list(self.variants),
            "results": [result.as_dict() for result in self.results],
            "seconds": self.seconds,
            "notes": list(self.notes),
            "failures": self.failures,
        }


def evaluate(
    model: str | Path | EmbeddingTable,
    tasks: str | Sequence[str] | None = None,
    *,
    config: CompressionConfig | None = None,
    options: CheckOptions | None = None,
    progress: ProgressCallback = ignore_progress,
    **plan: Any,  # noqa: ANN401 - of the plan and the checks, which check them
) -> Evaluation:
    """Run quick checks on a model, with its embedding as it came and made smaller.

    Args:
        model: ``"org/name"``, ``"bundled:minilm"``, a model folder, a file of vectors; or a folder
            that `engine.compress_model` wrote, which is compared with the model it was made from;
            or a table, of which only the rows are checked.
        tasks: Names in `engine.evaluation.checks.CHECKS`; those of `DEFAULT_CHECKS` that can be run
            when left out.
        config: The plan; or give its fields one by one (``rate=0.4, k=5``). With neither, and no
            compressed folder, only the original is measured.
        options: What checks are told; or give its fields one by one (``data``, ``text``,
            ``probe_task``). A ``seed`` is that of the plan as well.
        progress: Called throughout; raises `engine.Cancelled` to stop.
        **plan: Fields of `engine.plans.CompressionConfig` and of
            `engine.evaluation.subject.CheckOptions`.

    Returns:
        A result a check: of the original, the smaller one, and SVDs of that size. What a check
        that failed said is in `Evaluation.failures`, so that it does not cost the others.

    Raises:
        ParameterError: If a check is unknown or cannot be run on this model, or the plan does not
            fit it.
        SourceError: If the model or the data cannot be read.
        ModelError: If the model cannot be loaded.
    """
    began = time.perf_counter()
    config, options = split_settings(config, options, plan)
    checks = find_checks(
        DEFAULT_CHECKS if tasks is None else (tasks,) if isinstance(tasks, str) else tasks
    )
    subject, compressed = open_subject(model, options)
    if tasks is None:
        able = tuple(check for check in checks if check.unavailable(subject) is None)
        checks = able or checks  # none: the refusal below says why
    if compressed is not None and config is not None:
        raise ParameterError(
            f"{model} is compressed already; leave the plan out, or give the model it was made from"
        )
    check_available(checks, subject)
    if compressed is not None:
        variants = compressed.variants(progress)
    elif config is not None:
        variants = fit_variants(subject.table, config, progress=progress)
    else:
        variants = (original(subject.table),)
    return run_checks(checks, subject, variants, progress=progress, began=began)


def open_subject(
    model: str | Path | EmbeddingTable, options: CheckOptions
) -> tuple[Subject, CompressedFolder | None]:
    """What is checked; nothing but its rows is loaded yet.

    Args:
        model: As `evaluate` takes it.
        options: What checks are told.

    Returns:
        The subject, and the folder of a compressed model, where that was named: the subject is the
        model it was made from.

    Raises:
        SourceError: If it cannot be read.
        ParameterError: If the original of a compressed model is gone.
    """
    if isinstance(model, EmbeddingTable):
        return Subject(model, options, alone=True), None
    compressed = open_compressed(model)
    table = load_table(model) if compressed is None else compressed.table
    return Subject(table, options), compressed


def find_checks(names: Sequence[str]) -> tuple[Check, ...]:
    """Checks by their names, each once.

    Raises:
        ParameterError: If there is none of a name, or none are named.
    """
    unknown = [name for name in names if name not in CHECKS]
    if unknown or not names:
        raise ParameterError(
            f"the checks are {', '.join(CHECKS)}, got {', '.join(unknown) or 'none'}"
        )
    return tuple(CHECKS[name] for name in dict.fromkeys(names))


def check_available(checks: Sequence[Check], subject: Subject) -> None:
    """Refuse checks that cannot be run, and a text that cannot be read, before long work.

    Raises:
        ParameterError: With the reason.
        SourceError: If the text is not what checks can read.
    """
    read_sentences(subject.options.text)
    for check in checks:
        reason = check.unavailable(subject)
        if reason is not None:
            raise ParameterError(f"the check {check.name} cannot be run: {reason}")


def run_checks(
    checks: Sequence[Check],
    subject: Subject,
    variants: Sequence[Variant],
    *,
    progress: ProgressCallback = ignore_progress,
    began: float | None = None,
) -> Evaluation:
    """Run checks one after the other; one that fails does not cost the others.

    Args:
        checks: That are available for the subject.
        subject: What is checked.
        variants: Of its table; the original first.
        progress: Called throughout; may raise to stop.
        began: When the work on them began, by `time.perf_counter`; now, when left out.

    Raises:
        EngineError: What the first one said, if none could be finished.
    """
    began = time.perf_counter() if began is None else began
    results: list[CheckResult] = []
    failed: dict[str, EngineError] = {}
    for check in checks:
        try:
            results.append(run_check(check, subject, variants, progress))
        except Cancelled:
            raise
        except EngineError as error:
            failed[check.name] = error
    if not results:
        raise next(iter(failed.values()))
    return Evaluation(
        name=subject.table.name,
        variants=tuple(variant.as_dict() for variant in variants),
        results=tuple(results),
        seconds=time.perf_counter() - began,
        notes=subject.notes,
        failures={name: str(error) for name, error in failed.items()},
    )


def split_settings(
    config: CompressionConfig | None, options: CheckOptions | None, given: dict[str, Any]
) -> tuple[CompressionConfig | None, CheckOptions]:
    """The plan, if there is one, and what checks are told, out of what was given for both.

    Args:
        config: The plan as an object, or None.
        options: What checks are told as an object, or None.
        given: Fields of either, one by one; what checks alone take is removed from it.

    Raises:
        ParameterError: If one was given twice, or makes no sense.
    """
    own = {name: given.pop(name) for name in _OWN if given.get(name) is not None}
    plan = {name: value for name, value in given.items() if name not in {"seed", *_OWN}}
    twice = {*(plan if config is not None else ()), *(own if options is not None else ())}
    if "seed" in given and (config is not None or options is not None):
        twice.add("seed")  # which is part of both
    if twice:
        raise ParameterError(
            f"settings were given twice, as objects and as {', '.join(sorted(twice))}; give one"
        )
    if "seed" in given:
        own["seed"] = given["seed"]
        plan |= {"seed": given["seed"]} if plan else {}
    if plan:
        config = CompressionConfig.of(plan, besides=_OWN)
    own = {name: str(value) if name in ("data", "text") else value for name, value in own.items()}
    return config, replace(options or CheckOptions(), **own)
