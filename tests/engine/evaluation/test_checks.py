"""Every check finds nothing where nothing changed, and what is broken on purpose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.errors import Cancelled, EngineError, ParameterError, SourceError
from engine.evaluation.checks import CHECKS
from engine.evaluation.measuring import run_check
from engine.evaluation.results import CheckResult
from engine.evaluation.subject import CheckOptions, Subject
from engine.methods import factorize
from engine.progress import Progress
from engine.sources import load_table
from tests.engine.evaluation.small import (
    BROKEN,
    WIDTH,
    make_model,
    make_subject,
    make_texts,
    rows,
    variants_of,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept in the user's own folder, and no data are found by themselves."""
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SUBSPACE_ATLAS_DATA", raising=False)


@pytest.mark.parametrize("name", CHECKS)
def test_a_broken_layer_is_caught(name: str, tmp_path: Path) -> None:
    subject = make_subject(tmp_path)
    assert CHECKS[name].unavailable(subject) is None
    broken = {how: make(subject.table.matrix) for how, make in BROKEN.items()}
    result = run_check(CHECKS[name], subject, variants_of(subject.table, **broken))
    assert [score.variant for score in result.scores] == ["original", *BROKEN]
    for score in result.scores[1:]:
        assert score.drop.low > 0, f"{score.variant}: {score.drop}"
        assert score.drop.low <= score.drop.value <= score.drop.high


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_causal_model_is_caught(how: str, tmp_path: Path) -> None:
    subject = make_subject(tmp_path, "LlamaForCausalLM")
    text = Path(subject.options.text or "")
    text.write_text("\n".join(_own_words(subject, 100)) + "\n", encoding="utf-8")
    variants = variants_of(subject.table, **{how: BROKEN[how](subject.table.matrix)})
    result = run_check(CHECKS["language"], subject, variants)
    before, after = result.scores
    assert not result.higher_is_better
    assert result.metric == "perplexity"
    assert after.value.value > before.value.value
    assert after.drop.high < 0, "a perplexity that rises is a drop below 0"


def test_a_valence_probe_finds_nothing_in_noise(tmp_path: Path) -> None:
    """One that were measured on the words it was fitted to would find much."""
    subject = make_subject(tmp_path)
    noise = torch.randn(subject.table.matrix.shape, generator=torch.Generator().manual_seed(1))
    drawn = replace(subject.table, matrix=noise)
    (score,) = run_check(CHECKS["valence"], Subject(drawn), variants_of(drawn)).scores
    # 120 words: guessing spreads by 4.6 points
    assert 35 < score.value.value < 65


def test_a_linear_probe_is_measured_on_rows_it_has_not_seen(tmp_path: Path) -> None:
    """With all labels of the dev rows turned round, what was learnt from the others is wrong."""
    subject = make_subject(tmp_path)
    dev = Path(subject.options.data or "") / "sst2" / "dev.tsv"
    head, *lines = dev.read_text(encoding="utf-8").splitlines()
    turned = [f"{line[:-1]}{1 - int(line[-1])}" for line in lines]
    dev.write_text("\n".join([head, *turned]) + "\n", encoding="utf-8")
    (score,) = run_check(CHECKS["probe"], subject, variants_of(subject.table)).scores
    assert score.value.value < 50


def test_a_probe_needs_two_classes(tmp_path: Path) -> None:
    subject = make_subject(tmp_path)
    train = Path(subject.options.data or "") / "sst2" / "train.tsv"
    head, *lines = train.read_text(encoding="utf-8").splitlines()
    alike = [line for line in lines if line.endswith("1")]
    train.write_text("\n".join([head, *alike]) + "\n", encoding="utf-8")
    with pytest.raises(SourceError, match="training rows of SST-2 are all of one class"):
        run_check(CHECKS["probe"], subject, variants_of(subject.table))


def test_word_sets_do_without_analogies(tmp_path: Path) -> None:
    subject = make_subject(tmp_path)
    words = Path(subject.options.data or "") / "words"
    (words / "google-analogies.tsv").unlink()
    result = run_check(CHECKS["words"], subject, variants_of(subject.table))
    assert result.n >= 10
    assert not any("analogies" in name for name in result.details)


def test_a_score_of_words_is_a_number(tmp_path: Path) -> None:
    subject = make_subject(tmp_path)
    pairs = Path(subject.options.data or "") / "words" / "simlex999.tsv"
    head, first, *lines = pairs.read_text(encoding="utf-8").splitlines()
    wrong = first.rpartition("\t")[0] + "\tnan"
    pairs.write_text("\n".join([head, wrong, *lines]) + "\n", encoding="utf-8")
    with pytest.raises(SourceError, match="a score is a finite number"):
        run_check(CHECKS["words"], subject, variants_of(subject.table))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_are_what_generators_take(seed: int) -> None:
    with pytest.raises(ParameterError, match=f"a seed is at least 0 and below .*, got {seed}"):
        CheckOptions(seed=seed)


def _own_words(subject: Subject, lines: int) -> list[str]:
    """What the model itself would say next, so that its perplexity is low."""
    texts: list[str] = []
    for first in make_texts(lines, length=1):
        ids = subject.tokenizer(first, return_tensors="pt")["input_ids"]
        for _ in range(8):
            with torch.no_grad():
                last = subject.model(input_ids=ids).logits[:, -1].clone()
            last[:, :5] = -torch.inf  # words only
            ids = torch.cat([ids, last.argmax(dim=1, keepdim=True)], dim=1)
        texts.append(subject.tokenizer.decode(ids[0]))
    return texts


@pytest.mark.parametrize("name", CHECKS)
def test_what_is_the_same_drops_by_nothing(name: str, tmp_path: Path) -> None:
    subject = make_subject(tmp_path)
    exact = factorize(rows(), method="svd", j=WIDTH)
    told: list[Progress] = []
    variants = variants_of(subject.table, exact=exact)
    result = run_check(CHECKS[name], subject, variants, told.append)
    own, other = result.scores
    assert (own.drop.value, own.drop.low, own.drop.high) == (0, 0, 0)
    # An SVD of full rank gives the rows back to float32's rounding, 1e-6 of them; a rank or a
    # guess may turn over on a tie, of some hundred items one.
    assert abs(other.drop.value) < 1.5
    assert own.value.low <= own.value.value <= own.value.high
    title = CHECKS[name].title
    assert f"{title}: intervals" in {report.phase for report in told}
    measured = [report for report in told if report.phase == title]
    assert {report.detail for report in measured} == {"original", "exact"}
    # One phase for all variants: its time left is that of all of them.
    shares = [report.done / report.total for report in measured]
    assert shares == sorted(shares)
    text = json.dumps(result.as_dict(), allow_nan=False)
    assert CheckResult.from_dict(json.loads(text)) == result


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_can_be_stopped_and_leaves_the_model_as_it_was(name: str, tmp_path: Path) -> None:
    subject = make_subject(tmp_path)
    before = subject.model.get_input_embeddings()

    def stop(progress: Progress) -> None:
        if progress.detail == "shuffled":
            raise Cancelled("enough")

    broken = BROKEN["rows shuffled"](subject.table.matrix)
    with pytest.raises(Cancelled, match="enough"):
        run_check(CHECKS[name], subject, variants_of(subject.table, shuffled=broken), stop)
    assert subject.model.get_input_embeddings() is before


@pytest.mark.parametrize("name", CHECKS)
def test_each_check_says_what_it_is(name: str) -> None:
    check = CHECKS[name]
    assert check.name == name
    for text in (check.tells, check.blind):
        assert text[0].isupper()
        assert text.endswith(".")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("words", "the word sets are not here. Get them from github.com/"),
        ("stsb", r"no sentence encoder: it has no modules\.json"),
        ("fidelity", "has no tokenizer"),
        ("language", "has no tokenizer"),
        ("probe", "has no tokenizer"),
        ("valence", "only 0 pleasant and 0 unpleasant English words"),
    ],
)
def test_unavailable_checks_say_why(name: str, reason: str, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", sentences=False)
    if "tokenizer" in reason or name == "valence":
        for path in folder.glob("*token*"):
            path.unlink()
    found = CHECKS[name].unavailable(Subject(load_table(folder)))
    with pytest.raises(EngineError, match=reason):
        raise EngineError(found)


@pytest.mark.parametrize("name", ["words", "stsb", "probe"])
def test_a_data_folder_that_is_not_there_is_a_reason(name: str, tmp_path: Path) -> None:
    subject = make_subject(tmp_path)
    gone = Subject(subject.table, CheckOptions(data=str(tmp_path / "gone")))
    assert "gone is not there; name another by" in (CHECKS[name].unavailable(gone) or "")


def test_plain_tables_have_row_checks_only(tmp_path: Path) -> None:
    subject = make_subject(tmp_path)
    alone = Subject(subject.table, subject.options, alone=True)
    reasons = {name: check.unavailable(alone) for name, check in CHECKS.items()}
    assert {name for name, reason in reasons.items() if reason is None} == {"valence", "words"}
    assert "a table of rows without a model around it" in (reasons["stsb"] or "")


def test_a_model_without_a_head_says_nothing(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "BertModel")
    reason = CHECKS["language"].unavailable(Subject(load_table(folder)))
    assert "is loaded as BertModel, which has no head" in (reason or "")


@pytest.mark.parametrize(("name", "missing"), [("stsb", "stsb/dev"), ("probe", "sst2/train")])
def test_missing_data_are_named(name: str, missing: str, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    options = CheckOptions(data=str(tmp_path))
    reason = CHECKS[name].unavailable(Subject(load_table(folder), options))
    assert f"{tmp_path}/{missing}.tsv; name a folder that" in (reason or "")


def test_an_unknown_probe_task_is_named(tmp_path: Path) -> None:
    subject = make_subject(tmp_path, probe_task="xyz")
    assert "got 'xyz'" in (CHECKS["probe"].unavailable(subject) or "")
