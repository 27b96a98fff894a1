"""A tiny classifier-to-be and GLUE files that words alone decide, as data folders hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.engine.export.conftest import make_model

WORDS = 40  # of which the first half speaks for one label, the second for the other


def write_task(folder: Path, task: str, *, train: int = 32, dev: int = 24, pair: bool) -> None:
    """Write ``train.tsv`` and ``dev.tsv`` of a task whose labels its words give away."""
    rng = np.random.default_rng(len(task))
    (folder / task).mkdir(parents=True)
    for name, rows in (("train", train), ("dev", dev)):
        texts = ["sentence1", "sentence2"] if pair else ["sentence"]
        lines = ["\t".join(["idx", *texts, "label"])]
        for row in range(rows):
            label = row % 2
            words = 2 + label * WORDS // 2 + rng.integers(WORDS // 2, size=(len(texts), 4))
            said = [" ".join(f"word{word}" for word in text) for text in words]
            lines.append(
                "\t".join([str(row), *said, f"{5 * label:.1f}" if task == "stsb" else str(label)])
            )
        (folder / task / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def glue_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three small tasks."""
    folder = tmp_path_factory.mktemp("glue")
    write_task(folder, "cola", pair=False)
    write_task(folder, "rte", pair=True)
    write_task(folder, "stsb", pair=True)
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model of 48 tokens, 16 wide."""
    return make_model(tmp_path_factory.mktemp("model") / "bert", "BertForMaskedLM")
