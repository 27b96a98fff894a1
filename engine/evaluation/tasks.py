"""The nine GLUE tasks: their texts, labels, metrics and official sizes, each fact once."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class GlueTask:
    """One task of GLUE (Wang et al., ICLR 2019).

    Attributes:
        name: As the data set on the model hub calls it.
        title: As papers call it.
        asks: What it asks of a model, in a few words.
        columns: Of the hub's data set that hold the texts: one, or the two of a pair.
        labels: Names of the classes, by number; none where a number from 0 to 5 is asked for.
        metrics: As the benchmark defines them; its score of the task is their mean.
        dev: The hub's name for the split that is scored.
        train_rows: Of the official training set.
        dev_rows: Of the official dev set.
    """

    name: str
    title: str
    asks: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    dev: str = "validation"
    train_rows: int
    dev_rows: int

    @property
    def is_regression(self) -> bool:
        """Whether a number is asked for instead of a class."""
        return not self.labels

    @property
    def outputs(self) -> int:
        """How many numbers a model gives for a text."""
        return len(self.labels) or 1


_NOT_ENTAILED = ("entailment", "not entailment")

GLUE_TASKS = {
    task.name: task
    for task in (
        GlueTask(
            name="cola",
            title="CoLA",
            asks="is the sentence grammatical?",
            columns=("sentence",),
            labels=("unacceptable", "acceptable"),
            metrics=("matthews",),
            train_rows=8551,
            dev_rows=1043,
        ),
        GlueTask(
            name="sst2",
            title="SST-2",
            asks="is the opinion positive?",
            columns=("sentence",),
            labels=("negative", "positive"),
            metrics=("accuracy",),
            train_rows=67349,
            dev_rows=872,
        ),
        GlueTask(
            name="mrpc",
            title="MRPC",
            asks="do both sentences say the same?",
            columns=("sentence1", "sentence2"),
            labels=("not equivalent", "equivalent"),
            metrics=("f1", "accuracy"),
            train_rows=3668,
            dev_rows=408,
        ),
        GlueTask(
            name="stsb",
            title="STS-B",
            asks="how alike in meaning are both sentences?",
            columns=("sentence1", "sentence2"),
            labels=(),
            metrics=("pearson", "spearman"),
            train_rows=5749,
            dev_rows=1500,
        ),
        GlueTask(
            name="qqp",
            title="QQP",
            asks="do both questions ask the same?",
            columns=("question1", "question2"),
            labels=("not duplicate", "duplicate"),
            metrics=("f1", "accuracy"),
            train_rows=363846,
            dev_rows=40430,
        ),
        GlueTask(
            name="mnli",
            title="MNLI",
            asks="does the first sentence imply the second, or contradict it?",
            columns=("premise", "hypothesis"),
            labels=("entailment", "neutral", "contradiction"),
            metrics=("accuracy",),
            dev="validation_matched",
            train_rows=392702,
            dev_rows=9815,
        ),
        GlueTask(
            name="qnli",
            title="QNLI",
            asks="does the sentence answer the question?",
            columns=("question", "sentence"),
            labels=_NOT_ENTAILED,
            metrics=("accuracy",),
            train_rows=104743,
            dev_rows=5463,
        ),
        GlueTask(
            name="rte",
            title="RTE",
            asks="does the first text imply the second?",
            columns=("sentence1", "sentence2"),
            labels=_NOT_ENTAILED,
            metrics=("accuracy",),
            train_rows=2490,
            dev_rows=277,
        ),
        GlueTask(
            name="wnli",
            title="WNLI",
            asks="is the pronoun replaced by what it stands for?",
            columns=("sentence1", "sentence2"),
            labels=("not entailment", "entailment"),
            metrics=("accuracy",),
            train_rows=635,
            dev_rows=71,
        ),
    )
}
"""By name, in the order of the benchmark's own table."""


def glue_task(name: str) -> GlueTask:
    """The task of a name.

    Raises:
        ParameterError: If there is none.
    """
    try:
        return GLUE_TASKS[name]
    except KeyError:
        raise ParameterError(f"GLUE has the tasks {', '.join(GLUE_TASKS)}, got {name!r}") from None
