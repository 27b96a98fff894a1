"""Once engine is imported, transformers knows the layer; until then it refuses the folder.

Most of this only shows in a process of its own, that has imported neither.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers.quantizers.auto import (
    AUTO_QUANTIZATION_CONFIG_MAPPING,
    AUTO_QUANTIZER_MAPPING,
)

import engine
from engine.network import persistence, registration
from engine.network.replacement import replace_embedding
from tests.engine.network.models import HEADS, assert_close, case_of, outputs_of

REPOSITORY = Path(__file__).resolve().parents[3]

# Loads each folder as each class, and says what came out or what was raised.
LOADING = """
import sys
{first}
import torch, transformers
{then}
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)
ids = torch.arange(12).view(2, 6) + 3
for line in sys.stdin.read().splitlines():
    folder, kind = line.split("|")
    try:
        model = getattr(transformers, kind).from_pretrained(folder)
    except Exception as error:
        print(line, "raised", type(error).__name__, str(error)[:90].replace("\\n", " "), sep="|")
        continue
    with torch.no_grad():
        total = float(model.get_input_embeddings()(ids).double().sum())
    print(line, "loaded", total, sep="|")
"""
SOME = ("bert", "gemma", "t5")  # tried in more ways
ORDERS = {"before": ("import engine", ""), "after": ("", "import engine"), "never": ("", "")}


def run(script: str, lines: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=lines,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A folder, the classes to load it as, whether it needs us, what its embedding gives."""

    folder: Path
    kinds: tuple[str, ...]
    dense: bool
    total: float


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[Saved]:
    """Compressed models, of floats and of codes, and some that were made dense again."""
    made: list[Saved] = []
    for name in HEADS:
        case = case_of(name)
        coded = case.lossy.quantize(bits=4, basis_bits=8)
        for plan, dense in ((case.lossy, False), (coded, False), (case.lossy, True)):
            if name not in SOME and (dense or plan is coded):
                continue
            model = case.copy()
            replace_embedding(model, plan)
            if dense:
                model.dequantize()
            folder = tmp_path_factory.mktemp("model")
            model.save_pretrained(folder)
            ids = torch.arange(12).view(2, 6) + 3
            with torch.no_grad():
                total = float(model.get_input_embeddings()(ids).double().sum())
            kinds = ("AutoModel", type(model).__name__)
            made.append(Saved(folder=folder, kinds=kinds, dense=dense, total=total))
    return made


@pytest.mark.parametrize("order", ORDERS)
def test_folders_load_after_import_engine_and_never_without(order: str, saved: list[Saved]) -> None:
    """Whichever of the two is imported first; and never with an embedding made up at random."""
    first, then = ORDERS[order]
    asked = {f"{own.folder}|{kind}": own for own in saved for kind in own.kinds}
    answers = run(LOADING.format(first=first, then=then), "\n".join(asked)).splitlines()
    assert len(answers) == len(asked)
    for answer, own in zip(answers, asked.values(), strict=True):
        what, said = answer.split("|")[2:4]
        if order == "never" and not own.dense:
            assert (what, said) == ("raised", "RuntimeError"), answer
        else:
            assert what == "loaded", answer
            # The same numbers by the same code, summed in another process: equal but for rounding.
            assert float(said) == pytest.approx(own.total, rel=1e-6), answer


# A finder must not use up the one chance by answering a question, and must be gone afterwards.
REGISTERING = """
import sys, importlib, importlib.util
import engine, engine.network.registration as registration
assert not {"torch", "transformers"} & set(sys.modules), "import engine must stay light"

def waiting():
    return [finder for finder in sys.meta_path if type(finder).__module__ == registration.__name__]

engine.register_layer()
assert len(waiting()) == 1
importlib.reload(engine)
assert len(waiting()) == 1
import transformers
assert "transformers.quantizers.auto" not in sys.modules, "then this tests nothing"
assert importlib.util.find_spec("transformers.quantizers.auto") is not None
from transformers.quantizers import auto
assert auto.AUTO_QUANTIZER_MAPPING["subspace_atlas"].__name__ == "SubspaceQuantizer"
assert auto.AUTO_QUANTIZATION_CONFIG_MAPPING["subspace_atlas"].__name__ == "SubspaceConfig"
assert auto.__spec__.origin.endswith("auto.py")
assert not waiting()
for name in [name for name in sys.modules if name.partition(".")[0] == "engine"]:
    del sys.modules[name]
import engine
import engine.network.persistence as again
assert auto.AUTO_QUANTIZER_MAPPING["subspace_atlas"] is again.SubspaceQuantizer
print("done")
"""


def test_it_waits_for_transformers_and_registers_once() -> None:
    assert run(REGISTERING).strip() == "done"


def test_registering_again_does_no_harm() -> None:
    """As streamlit does, which imports anew what has changed."""
    before = list(sys.meta_path)
    registration.register_layer()
    registration.register_layer()
    assert sys.meta_path == before
    assert AUTO_QUANTIZER_MAPPING[persistence.METHOD] is persistence.SubspaceQuantizer
    assert AUTO_QUANTIZATION_CONFIG_MAPPING[persistence.METHOD] is persistence.SubspaceConfig


def test_models_survive_a_reload_of_the_registered_module(tmp_path: Path) -> None:
    case = case_of("bert")
    model = case.copy()
    handle = replace_embedding(model, case.lossy)
    try:
        importlib.reload(engine)
        importlib.reload(persistence)
        model.save_pretrained(tmp_path)
        loaded = type(model).from_pretrained(tmp_path)
        assert torch.equal(outputs_of(loaded), outputs_of(model))
        loaded.dequantize()
        assert_close(outputs_of(loaded), outputs_of(model))
        handle.undo()
        assert torch.equal(outputs_of(model), outputs_of(case.model))
    finally:
        importlib.reload(engine.network.replacement)
