"""Loading in a process of its own: with us, without us, and after restoring."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import engine
from engine.export.restoring import restore_model
from tests.engine.export.conftest import PLAN, make_model
from tests.engine.export.test_compressing import IDS, load, outputs

REPOSITORY = Path(__file__).resolve().parents[3]
WITHOUT_US = """
import sys
from pathlib import Path
import torch, transformers
folder = sys.argv[1]
for name in sys.argv[2:]:
    try:
        getattr(transformers, name).from_pretrained(folder)
    except Exception as error:
        print(name, "raised", type(error).__name__)
    else:
        print(name, "loaded")
assert "engine" not in sys.modules
"""
OUTPUTS = """
import sys
{first}
import torch, transformers
model = getattr(transformers, sys.argv[2]).from_pretrained(sys.argv[1])
with torch.inference_mode():
    logits = model(input_ids=torch.arange(2, 14).view(2, 6))[0]
import numpy
numpy.save(sys.argv[3], logits.numpy())
print("engine" in sys.modules)
"""


def run(script: str, *arguments: str | Path, cwd: Path) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def read(path: Path) -> torch.Tensor:
    import numpy as np

    return torch.from_numpy(np.load(path))


@pytest.mark.slow
def test_a_fresh_process_loads_the_same_after_import_engine(bert: Path, tmp_path: Path) -> None:
    smaller = engine.compress_model(bert, output=tmp_path / "out", **PLAN)
    script = OUTPUTS.format(first="import engine")
    assert run(
        script, tmp_path / "out", "AutoModelForMaskedLM", tmp_path / "x.npy", cwd=tmp_path
    ) == ("True\n")
    assert IDS.shape == read(tmp_path / "x.npy").shape[:2]
    assert torch.equal(read(tmp_path / "x.npy"), outputs(smaller.model))


@pytest.mark.slow
@pytest.mark.parametrize("bits", [None, 4])
def test_without_us_nothing_loads(bits: int | None, bert: Path, tmp_path: Path) -> None:
    engine.compress_model(bert, output=tmp_path / "out", bits=bits, **PLAN)
    classes = (
        "AutoModel",
        "AutoModelForMaskedLM",
        "AutoModelForSequenceClassification",
        "BertForMaskedLM",
        "BertModel",
    )
    told = run(WITHOUT_US, tmp_path / "out", *classes, cwd=tmp_path)
    assert [line.split()[:2] for line in told.splitlines()] == [
        [name, "raised"] for name in classes
    ]
    # the very same classes do load the dense one: what raises is our layer
    told = run(WITHOUT_US, bert, *classes, cwd=tmp_path)
    assert told.split()[1::2] == ["loaded"] * len(classes)


@pytest.mark.slow
def test_a_restored_model_needs_nothing_of_ours(tmp_path: Path) -> None:
    source = make_model(tmp_path / "source", "LlamaForCausalLM")
    engine.compress_model(source, output=tmp_path / "out", **PLAN)
    restore_model(tmp_path / "out", tmp_path / "dense")
    script = OUTPUTS.format(first="")
    assert run(
        script, tmp_path / "dense", "AutoModelForCausalLM", tmp_path / "x.npy", cwd=tmp_path
    ) == ("False\n")
    assert torch.equal(
        read(tmp_path / "x.npy"), outputs(load(tmp_path / "dense", "LlamaForCausalLM"))
    )
