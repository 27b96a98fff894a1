"""How a cell of the protocol is measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.errors import ModelError
from engine.evaluation.data import SPLITS, load_split, rows_fingerprint
from engine.evaluation.glue.cells import DRAWS, CellKey, GlueCell
from engine.evaluation.glue.plans import GluePlan
from engine.evaluation.glue.settings import GlueSettings
from engine.evaluation.glue.training import (
    EncodedSplit,
    Network,
    Trainee,
    encode,
    load_network,
    load_tuned,
)
from engine.evaluation.scores import task_scores
from engine.evaluation.tasks import GlueTask, glue_task
from engine.export.models import StoredModel, quiet_transformers
from engine.factorization import Factorization
from engine.folders import write_folder
from engine.frequencies import token_weights
from engine.network.replacement import replace_embedding
from engine.progress import Progress, ProgressCallback

_NETWORKS = "networks"  # tuned ones, kept so that a stopped run need not train them again


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bench:
    """Measures the cells of one task and seed.

    Attributes:
        folder: Of the run.
        settings: Of the run.
        stored: The model, not yet tuned.
        task: Which.
        seed: Of training and fits.
        trainee: Trains and predicts.
        train: Rows to train on.
        dev: Rows that are scored.
    """

    folder: Path
    settings: GlueSettings
    stored: StoredModel
    task: GlueTask
    seed: int
    trainee: Trainee
    train: EncodedSplit
    dev: EncodedSplit

    @classmethod
    def open(
        cls,
        folder: Path,
        settings: GlueSettings,
        stored: StoredModel,
        key: CellKey,
        data: str | Path | None,
        progress: ProgressCallback,
    ) -> Bench:
        """Read and tokenise the rows of a cell's task.

        Raises:
            SourceError: If they cannot be read.
        """
        task = glue_task(key.task)
        progress(Progress(phase=f"Reading {task.title}", done=0, total=1))
        train, dev = (load_split(task, split, data=data) for split in SPLITS)
        if settings.train_rows:
            train = train.sample(settings.train_rows)
        with quiet_transformers():
            tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                stored.files.folder, local_files_only=True, trust_remote_code=False
            )
        if tokenizer.pad_token is None:  # of a model that was made to continue texts
            tokenizer.pad_token = tokenizer.eos_token
        return cls(
            folder=folder,
            settings=settings,
            stored=stored,
            task=task,
            seed=key.seed,
            trainee=Trainee(settings=settings, tokenizer=tokenizer, progress=progress),
            train=encode(train, tokenizer, settings.longest),
            dev=encode(dev, tokenizer, settings.longest),
        )

    @property
    def rows(self) -> str:
        """What the task's rows are told by."""
        return rows_fingerprint(self.train.split, self.dev.split)

    def measure(self, key: CellKey, name: str) -> GlueCell:
        """Make a cell's network and measure it.

        Args:
            key: Of this task and seed.
            name: What progress calls it.

        Raises:
            ModelError: If the model cannot classify.
        """
        began = time.perf_counter()
        network = self._tuned(name)
        weight = network.get_input_embeddings().weight.detach().to("cpu", torch.float32)
        plan = self._fit(key, weight) if key.plan else None
        layer = None if plan is None else replace_embedding(network, plan).embedding
        if key.stage in ("continued", "retrained"):
            if layer is not None and GluePlan.parse(key.plan).coded:
                layer.train_bases()
            self._train_further(network, name, taught=plan is not None)
        guess = self._guess(network, self.dev, name)
        labels = self.dev.split.labels
        score, metrics = task_scores(self.task, labels, guess)
        return GlueCell(
            key=key,
            k=plan.k if plan else 0,
            score=score,
            metrics=metrics,
            train_score=self._train_score(network, name),
            draws=self._draws(labels, guess),
            dev_rows=len(labels),
            notes=self._notes(),
            parameters=weight.numel() if plan is None else plan.parameters,
            # As a file holds it: what training made of the bases is counted, too.
            stored_bytes=weight.nbytes if layer is None else _tensor_bytes(layer),
            relative_error=plan.relative_error(weight) if plan else 0.0,
            seconds=round(time.perf_counter() - began, 2),
        )

    def _tuned(self, name: str) -> Network:
        """The whole network after fine-tuning; trained once and kept."""
        place = self.folder / _NETWORKS / f"{self.task.name}_seed{self.seed}"
        if not place.is_dir():
            torch.manual_seed(self.seed)  # of the new head
            network = load_network(self.stored, self.task.outputs)
            network.config.pad_token_id = self.trainee.tokenizer.pad_token_id
            self.trainee.train(
                network,
                self.train.labelled(),
                epochs=self.settings.epochs,
                seed=self.seed,
                name=name,
            )
            with quiet_transformers():
                write_folder(place, network.save_pretrained)
        return load_tuned(place)

    def _fit(self, key: CellKey, matrix: Tensor) -> Factorization:
        counts = self.train.counts(len(matrix))
        weights = token_weights(counts, self.settings.weight_power, self.settings.weight_floor)
        plan = GluePlan.parse(key.plan)
        return plan.fit(matrix, rate=key.rate, seed=key.seed, weights=weights)

    def _train_further(self, network: Network, name: str, *, taught: bool) -> None:
        """Two epochs more, say, with a teacher where asked; the whole network is its own master."""
        teacher = None
        if taught and self.settings.distillation:
            whole = self._tuned(name)
            teacher = self.trainee.predict(whole, self.train, name=f"{name}, teacher")
        self.trainee.train(
            network,
            self.train.labelled(teacher),
            epochs=self.settings.further_epochs,
            seed=self.seed + 1,  # another order than the first time
            name=name,
        )

    def _guess(self, network: Network, rows: EncodedSplit, name: str) -> NDArray[Any]:
        answers = self.trainee.predict(network, rows, name=f"{name}, measuring")
        if not np.isfinite(answers).all():
            raise ModelError(
                f"{name}: the network answers with no finite numbers, so its training diverged; "
                "lower --learning-rate, or use --device cpu where half precision may be to blame"
            )
        return answers[:, 0] if self.task.is_regression else answers.argmax(axis=1)

    def _train_score(self, network: Network, name: str) -> float:
        part = self.train.sample(self.settings.measured_rows)
        return task_scores(self.task, part.split.labels, self._guess(network, part, name))[0]

    def _draws(self, labels: NDArray[Any], guess: NDArray[Any]) -> tuple[float, ...]:
        rng = np.random.default_rng(0)  # the same rows in every cell of a task
        drawn = (rng.integers(len(labels), size=len(labels)) for _ in range(DRAWS))
        return tuple(
            round(task_scores(self.task, labels[rows], guess[rows])[0], 3) for rows in drawn
        )

    def _notes(self) -> tuple[str, ...]:
        splits = (self.train.split, self.dev.split)
        return tuple(f"{split.name}: {split.note}" for split in splits if split.note)


def _tensor_bytes(layer: nn.Module) -> int:
    return sum(part.nbytes for part in layer.state_dict().values())
