"""Distillation: the teacher's answers in the loss, by hand and in a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.evaluation.glue.running import run_glue
from engine.evaluation.glue.settings import GlueGrid
from engine.evaluation.glue.training import distance_to_teacher, load_network
from tests.engine.evaluation.glue.test_running import bench_of, settings_of

pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")


def test_a_network_that_answers_like_its_teacher_has_no_distance() -> None:
    for outputs in (1, 2, 3):
        answers = torch.randn(5, outputs, generator=torch.Generator().manual_seed(0))
        assert distance_to_teacher(answers, answers).item() == pytest.approx(0, abs=1e-6)


def test_only_differences_between_classes_count() -> None:
    own = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    assert distance_to_teacher(own + 3, own).item() == pytest.approx(0, abs=1e-6)
    assert distance_to_teacher(own.flip(1), own).item() > 0.1


def test_classes_by_hand() -> None:
    own, other = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    teacher = torch.tensor([1.0, 0.0]).softmax(0)  # softened by a temperature of 2
    expected = 4 * (teacher * (teacher / 0.5).log()).sum()
    assert distance_to_teacher(own, other).item() == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_teacher_is_followed_as_far_as_its_share_says(
    tmp_path: Path, bert: Path, glue_data: Path, share: float
) -> None:
    bench = bench_of(tmp_path, bert, glue_data, "rte", distillation=share)
    labels = bench.train.split.labels
    contrary = np.where(np.eye(2, dtype=bool)[labels], -4.0, 4.0)  # for the other class each time
    torch.manual_seed(0)
    network = load_network(bench.stored, outputs=2)
    bench.trainee.train(network, bench.train.labelled(contrary), epochs=12, seed=0, name="")
    guess = bench.trainee.predict(network, bench.train, name="").argmax(axis=1)
    wanted = labels if share == 0 else 1 - labels
    assert (guess == wanted).mean() > 0.9


def test_a_run_teaches_only_in_its_further_epochs(
    tmp_path: Path, bert: Path, glue_data: Path
) -> None:
    grid = GlueGrid(tasks=("stsb",), plans=("svd",), rates=(0.6,))
    plain, taught = (
        run_glue(
            tmp_path / f"{share}",
            settings_of(bert, epochs=2, distillation=share),
            grid,
            data=glue_data,
        )
        for share in (0.0, 1.0)
    )
    for one, other in zip(plain, taught, strict=True):
        assert one.key == other.key
        # The whole network is trained further without a teacher, so that drops compare with it.
        assert (one.draws == other.draws) == (one.key.stage != "retrained")
