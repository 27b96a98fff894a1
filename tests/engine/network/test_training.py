"""Fine-tuning through the layer: losses fall, every part learns, a Trainer can go on."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from engine.network.replacement import replace_embedding
from tests.engine.network.models import (
    HEADS,
    ROWS,
    Bits,
    Case,
    Model,
    case_of,
    gradients_of,
    outputs_of,
)

STEPS = 20


def task(case: Case) -> dict[str, Tensor]:
    """Sequences to learn by heart: each token is to be predicted from itself or those before."""
    ids = torch.randint(3, ROWS, (8, 6), generator=torch.Generator().manual_seed(4))
    inputs = {"input_ids": ids}
    if case.model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    return inputs


def losses_of(model: Model, inputs: dict[str, Tensor], *, autocast: bool) -> list[float]:
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    found: list[float] = []
    for _ in range(STEPS):
        optimiser.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16) if autocast else nullcontext():
            logits = model(**inputs)[0]
            loss = cross_entropy(logits.flatten(0, 1).float(), inputs["input_ids"].flatten())
        loss.backward()
        optimiser.step()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "autocast"])
@pytest.mark.parametrize("name", HEADS)
def test_the_loss_falls(name: str, autocast: bool) -> None:
    case = case_of(name)
    model = case.copy()
    layer = replace_embedding(model, case.lossy).embedding
    before = {key: part.clone() for key, part in layer.state_dict().items()}
    inputs = task(case)
    losses = losses_of(model, inputs, autocast=autocast)
    assert losses[-1] < 0.8 * losses[0]
    after = layer.state_dict()
    moved = {key for key, part in before.items() if not torch.equal(part, after[key])}
    assert moved == {"weight", "bases"}  # and the labels are no numbers to be learned
    assert layer.weight.dtype == layer.bases.dtype == torch.float32


@pytest.mark.parametrize("name", HEADS)
def test_both_factors_and_all_the_rest_get_gradients(name: str) -> None:
    case = case_of(name)
    dense, model = case.copy(), case.copy()
    layer = replace_embedding(model, case.lossy).embedding
    found = gradients_of(model)
    assert bool(layer.weight.grad.any())
    assert bool(layer.bases.grad.any())
    table = case.model.get_input_embeddings().weight
    names = {key for key, part in case.model.named_parameters() if part is not table}
    assert names & set(found) == names & set(gradients_of(dense))
    assert all(bool(part.isfinite().all()) for part in found.values())


@pytest.mark.parametrize("bits", [8, 4, "coded"])
def test_codes_stay_while_the_rest_learns(bits: Bits) -> None:
    case = case_of("distilbert")
    model = case.copy()
    layer = replace_embedding(model, case.stored(bits)).embedding
    before = layer.to_dense()
    losses = losses_of(model, task(case), autocast=False)
    assert losses[-1] < 0.8 * losses[0]
    assert torch.equal(layer.to_dense(), before)


def test_what_was_learned_is_saved(tmp_path: Path) -> None:
    case = case_of("llama")
    model = case.copy()
    replace_embedding(model, case.lossy)
    losses_of(model, task(case), autocast=False)
    model.save_pretrained(tmp_path)
    assert torch.equal(outputs_of(type(model).from_pretrained(tmp_path)), outputs_of(model))


class Sequences(torch.utils.data.Dataset[dict[str, Tensor]]):
    """The sequences of `task`, each its own target."""

    def __init__(self, ids: Tensor) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {"input_ids": self.ids[row], "labels": self.ids[row]}


@pytest.mark.parametrize("bits", [None, 4, "coded"])
@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_a_trainer_trains_saves_and_goes_on(tmp_path: Path, name: str, bits: Bits) -> None:
    pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
    from transformers import Trainer, TrainingArguments

    case = case_of(name)
    plan = case.stored(bits)

    def trainer(folder: str, epochs: int) -> Model:
        model = case.copy()
        replace_embedding(model, plan)
        arguments = TrainingArguments(
            output_dir=str(tmp_path / folder),
            num_train_epochs=epochs,
            per_device_train_batch_size=4,
            learning_rate=1e-2,
            lr_scheduler_type="constant",
            save_strategy="epoch",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            logging_strategy="no",
            dataloader_pin_memory=False,
        )
        return Trainer(
            model=model, args=arguments, train_dataset=Sequences(task(case)["input_ids"])
        )

    whole = trainer("whole", 3)
    whole.train()
    stopped = trainer("stopped", 1)
    stopped.train()
    resumed = trainer("stopped", 3)
    resumed.train(resume_from_checkpoint=True)
    found = [outputs_of(done.model.eval()) for done in (whole, stopped, resumed)]
    assert torch.equal(found[2], found[0])
    assert not torch.equal(found[1], found[0])
    last = max((tmp_path / "stopped").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    assert torch.equal(outputs_of(type(whole.model).from_pretrained(last)), found[2])
