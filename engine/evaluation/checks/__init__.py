"""The quick checks, by name, the cheapest first."""

from __future__ import annotations

from engine.evaluation.checks import fidelity, language, probe, stsb, valence, words
from engine.evaluation.checks.check import Check

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        valence.CHECK,
        words.CHECK,
        fidelity.CHECK,
        stsb.CHECK,
        language.CHECK,
        probe.CHECK,
    )
}
