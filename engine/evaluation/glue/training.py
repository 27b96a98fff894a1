"""A network for a GLUE task: loaded, trained by transformers' Trainer, asked for its answers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import MissingDependencyError, ParameterError
from engine.evaluation.data import Split
from engine.evaluation.glue.settings import GlueSettings
from engine.export.models import StoredModel, load_weights, quiet_transformers
from engine.progress import Progress, ProgressCallback

Network = Any  # of transformers, for sequence classification
_WARMUP = 0.06  # of the steps, as in the paper's own code and RoBERTa's
_WEIGHT_DECAY = 0.01
_MEASURED_BATCH = 64
_TEMPERATURE = 2.0
_PHASE = "This cell"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedSplit:
    """A split as rows of token ids.

    Attributes:
        split: Its texts and labels.
        rows: Of each text its ``input_ids`` and what else the tokenizer gives.
    """

    split: Split
    rows: list[dict[str, Any]]

    def counts(self, n_tokens: int) -> Tensor:
        """How often each token occurs in a million tokens of it, shape (n,), float64."""
        ids = np.concatenate([np.asarray(row["input_ids"], dtype=np.int64) for row in self.rows])
        found = np.bincount(ids, minlength=n_tokens)
        return torch.from_numpy(found * (1e6 / len(ids)))

    def sample(self, count: int) -> EncodedSplit:
        """So many rows, as `Split.sample` draws them."""
        if count >= len(self.rows):
            return self
        chosen = self.split.draw(count)
        return EncodedSplit(split=self.split.take(chosen), rows=[self.rows[row] for row in chosen])

    def labelled(self, teacher: NDArray[Any] | None = None) -> list[dict[str, Any]]:
        """Its rows with their labels, and with what a teacher answers, shape (n, outputs)."""
        kind = float if self.split.task.is_regression else int
        labelled = [
            {**row, "labels": kind(label)}
            for row, label in zip(self.rows, self.split.labels, strict=True)
        ]
        if teacher is not None:
            for row, answer in zip(labelled, teacher, strict=True):
                row["teacher"] = answer.tolist()
        return labelled


def encode(split: Split, tokenizer: Any, longest: int) -> EncodedSplit:  # noqa: ANN401
    """Tokenise a split once."""
    pairs: tuple[Sequence[str], ...] = (split.second,) if split.second else ()
    with quiet_transformers():
        encoded = tokenizer(
            list(split.first), *map(list, pairs), truncation=True, max_length=longest
        )
    names = list(encoded.keys())
    columns = [encoded[name] for name in names]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    return EncodedSplit(split=split, rows=rows)


def load_network(stored: StoredModel, outputs: int) -> Network:
    """A model with a new head of so many outputs, in float32; it is random, so seed torch before.

    Raises:
        ModelError: If transformers cannot load it as a classifier.
    """
    model, _ = load_weights(
        stored.files,
        transformers.AutoModelForSequenceClassification,
        num_labels=outputs,
        dtype=torch.float32,
    )
    return model


def load_tuned(folder: Path) -> Network:
    """A network that was saved by ``save_pretrained``."""
    with quiet_transformers():
        return transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trainee:
    """Trains and measures networks of one run.

    Attributes:
        settings: Of the run.
        tokenizer: Of the model; it pads.
        progress: Called after every step; may raise to stop.
    """

    settings: GlueSettings
    tokenizer: Any
    progress: ProgressCallback

    def train(
        self,
        network: Network,
        rows: list[dict[str, Any]],
        *,
        epochs: int,
        seed: int,
        name: str,
    ) -> None:
        """Train a network in place.

        Args:
            network: For sequence classification.
            rows: From `EncodedSplit.labelled`.
            epochs: Passes over them.
            seed: Of their order and of dropout.
            name: What progress calls it.
        """
        with tempfile.TemporaryDirectory() as scratch, quiet_transformers():
            trainer = self._trainer(
                network,
                name,
                scratch,
                train_dataset=rows,
                num_train_epochs=epochs,
                seed=seed,
                # Left out elsewhere: it shuffles what is predicted, too.
                train_sampling_strategy="group_by_length",
            )
            trainer.train()
        network.eval()

    def predict(self, network: Network, encoded: EncodedSplit, *, name: str) -> NDArray[Any]:
        """What a network answers, shape (n, outputs), float32."""
        # Alike lengths go together, so that little is padded.
        order = np.argsort([len(row["input_ids"]) for row in encoded.rows], kind="stable")
        with tempfile.TemporaryDirectory() as scratch, quiet_transformers():
            trainer = self._trainer(network, name, scratch)
            found = trainer.predict([encoded.rows[row] for row in order]).predictions
        if isinstance(found, tuple):  # of an encoder and decoder: states come behind the answers
            found = found[0]
        answers = np.empty_like(found, dtype=np.float32)
        answers[order] = found
        return answers

    def _trainer(self, network: Network, name: str, scratch: str, **given: Any) -> Any:  # noqa: ANN401
        try:
            import accelerate  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ImportError:
            raise MissingDependencyError(
                "training needs accelerate: pip install 'subspace-atlas[glue]'"
            ) from None
        train_rows = given.pop("train_dataset", None)
        on_gpu = on_cuda(self.settings)
        half = on_gpu and torch.cuda.is_bf16_supported()
        arguments = transformers.TrainingArguments(
            output_dir=scratch,
            learning_rate=self.settings.learning_rate,
            per_device_train_batch_size=self.settings.batch_rows,
            per_device_eval_batch_size=_MEASURED_BATCH,
            warmup_steps=_WARMUP,
            weight_decay=_WEIGHT_DECAY,
            bf16=half,
            fp16=on_gpu and not half,
            use_cpu=not on_gpu,
            dataloader_pin_memory=on_gpu,
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            **given,
        )
        trainer = _Trainer(
            model=network,
            args=arguments,
            train_dataset=train_rows,
            data_collator=transformers.DataCollatorWithPadding(self.tokenizer),
            callbacks=[_Reports(self.progress, name)],
            share=self.settings.distillation,
        )
        trainer.remove_callback(transformers.PrinterCallback)
        return trainer


def check_device(settings: GlueSettings) -> None:
    """See that the device asked for is there.

    Raises:
        ParameterError: If it is not.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ParameterError(
            "--device cuda was asked for, and torch finds no GPU of NVIDIA's here; leave it out to "
            "compute on the CPU, or install a build of torch with CUDA"
        )


def on_cuda(settings: GlueSettings) -> bool:
    """Whether a run computes on a GPU of NVIDIA's."""
    return settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())


class _Trainer(transformers.Trainer):
    """Takes a teacher's answers into the loss where the rows bring them."""

    def __init__(self, *, share: float, **given: Any) -> None:  # noqa: ANN401
        super().__init__(**given)
        self._share = share

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """The model's own loss, mixed with its distance to the teacher."""
        teacher = inputs.pop("teacher", None)
        if teacher is None:
            return super().compute_loss(model, inputs, *args, **options)
        outputs = model(**inputs)
        own, other = outputs.logits.float(), teacher.float()
        loss = (1 - self._share) * outputs.loss + self._share * distance_to_teacher(own, other)
        return (loss, outputs) if options.get("return_outputs") else loss


def distance_to_teacher(own: Tensor, other: Tensor) -> Tensor:
    """How far answers are from a teacher's, both of shape (rows, outputs).

    The mean squared difference of single numbers; of classes the Kullback–Leibler divergence of
    their softened probabilities, scaled as in Hinton, Vinyals, Dean, *Distilling the Knowledge in a
    Neural Network*, 2015.
    """
    if own.shape[1] == 1:
        return torch.nn.functional.mse_loss(own, other)
    student, teacher = ((answers / _TEMPERATURE).log_softmax(dim=1) for answers in (own, other))
    divergence = torch.nn.functional.kl_div(
        student, teacher, reduction="batchmean", log_target=True
    )
    return _TEMPERATURE**2 * divergence


class _Reports(transformers.TrainerCallback):
    """Passes steps on to a progress callback; what that raises ends the training."""

    def __init__(self, progress: ProgressCallback, name: str) -> None:
        self._progress, self._name = progress, name
        self._predicted = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ANN401
        self._report(state.global_step, state.max_steps)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ANN401
        loader = given.get("eval_dataloader")
        self._predicted += 1
        self._report(self._predicted, len(loader) if loader is not None else self._predicted)

    def _report(self, done: int, total: int) -> None:
        total = max(1, total)
        step = Progress(phase=_PHASE, done=min(done, total), total=total, detail=self._name)
        self._progress(step)
