"""Tokens are counted as running text has them, and weights are made of the counts."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

import engine
from engine.errors import ParameterError, ShapeError, SourceError
from engine.frequencies import running_text
from engine.frequencies.running_text import (
    MARKS_PER_WORD,
    SENTENCES_PER_WORD,
    languages,
    lines_of,
    words_of,
)
from engine.table import EmbeddingTable, RowNumbers

WORDS = ["[UNK]", "[CLS]", "[SEP]", "the", "The", "cat", ".", ","]
# A language of three words, whose shares add up to 1: counts can be done by hand.
SHARES = {"the": 0.5, "cat": 0.3, "dog": 0.2}


def word_tokenizer(*, special: bool = False, lower: bool = False) -> Tokenizer:
    """One token a word, split at spaces and marks."""
    tokenizer = Tokenizer(
        models.WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    return tokenizer


def byte_tokenizer() -> Tokenizer:
    """GPT-2's kind: the space before a word is part of its token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {sign: row for row, sign in enumerate(alphabet)}
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def prepending_tokenizer() -> Tokenizer:
    """Llama 2's kind: "▁" before the whole text, and for each space; no other split."""
    pieces = ["<unk>", "▁", "t", "h", "e", ",", "th", "the", "▁the", "▁▁", "▁,"]
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "▁"), ("▁", ",")]
    tokenizer = Tokenizer(
        models.BPE({p: row for row, p in enumerate(pieces)}, merges, unk_token="<unk>")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def table_of(tokens: Sequence[str], spec: str = "words.vec") -> EmbeddingTable:
    matrix = torch.ones(len(tokens), 2)
    return EmbeddingTable(name="words", spec=spec, tokens=tokens, matrix=matrix)


@pytest.fixture
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language of three words."""
    for module in ("counting", "words"):
        monkeypatch.setattr(f"engine.frequencies.{module}.words_of", lambda _: dict(SHARES))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("The cat, the cat.\n\nthe dog\n", encoding="utf-8")
    return path


@pytest.fixture
def vectors(tmp_path: Path) -> str:
    """Where a table of word vectors came from: it need only be a file."""
    path = tmp_path / "words.vec"
    path.write_text("the 1 1\n")
    return str(path)


# Weights


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=20),
    st.floats(0, 2),
    st.floats(0, 1e3),
)
def test_weights_rise_with_the_count(counts: list[float], power: float, floor: float) -> None:
    ordered = torch.tensor(sorted(counts), dtype=torch.float64)

    weights = engine.token_weights(ordered, power, floor)

    assert bool((weights.diff() >= 0).all())
    assert bool((weights >= floor**power * (1 - 1e-12)).all())  # rounding of the power


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_power_one_without_floor_is_the_count_and_power_zero_is_none(counts: list[float]) -> None:
    given_counts = torch.tensor(counts, dtype=torch.float64)

    assert torch.equal(engine.token_weights(given_counts, 1.0, 0.0), given_counts)
    assert torch.equal(engine.token_weights(given_counts, 0.0, 16.0), torch.ones_like(given_counts))


def test_default_weights_by_hand() -> None:
    weights = engine.token_weights(torch.tensor([0.0, 9.0, 48.0]))
    assert weights.tolist() == [4.0, 5.0, 8.0]


@pytest.mark.parametrize(
    ("counts", "options", "error", "message"),
    [
        (torch.ones(2, 2), {}, ShapeError, r"one count a row, shape \(n,\), got \(2, 2\)"),
        (torch.ones(0), {}, ShapeError, r"got \(0,\)"),
        (torch.tensor([-1.0]), {}, ParameterError, "counts must be finite and not negative"),
        (torch.tensor([torch.nan]), {}, ParameterError, "counts must be finite"),
        (torch.ones(1), {"power": -1}, ParameterError, "power must be 0 or more and finite, got"),
        (torch.ones(1), {"floor": torch.inf}, ParameterError, "floor must be 0 or more .* got inf"),
        (torch.ones(1), {"power": 1e3}, ParameterError, "power = 1000 makes a weight overflow"),
    ],
)
def test_wrong_weights_are_refused(
    counts: torch.Tensor, options: dict[str, float], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        engine.token_weights(counts, **options)


# Text files


@settings(deadline=None)  # the first example imports wordfreq
@given(st.lists(st.lists(st.sampled_from(["the", "cat", "."]), min_size=1), min_size=1))
def test_a_file_counts_like_counting(
    tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_text("".join(" ".join(line) + "\n" for line in lines))
    expected = Counter(word for line in lines for word in line)

    counts = engine.token_counts(word_tokenizer(), path)

    by_hand = torch.tensor([float(expected[word]) for word in WORDS], dtype=torch.float64)
    torch.testing.assert_close(counts, by_hand * (1e6 / by_hand.sum()))


def test_special_tokens_count_once_a_line_that_is_not_blank(text: Path) -> None:
    tokenizer = word_tokenizer(special=True)
    with_them = {"The": 1, "cat": 2, ",": 1, "the": 2, ".": 1, "[UNK]": 1, "[CLS]": 2, "[SEP]": 2}

    counts = engine.token_counts(tokenizer, text)
    without = engine.token_counts(tokenizer, text, special_tokens=False)

    assert (counts * 12e-6).tolist() == pytest.approx([with_them[word] for word in WORDS])
    assert without[1:3].tolist() == [0, 0]
    assert float(without.sum()) == pytest.approx(1e6)


def test_a_gzipped_text_counts_the_same_whatever_its_name(text: Path, tmp_path: Path) -> None:
    zipped = tmp_path / "zipped"
    zipped.write_bytes(gzip.compress(text.read_bytes()))
    plain = engine.token_counts(word_tokenizer(), str(text))
    assert torch.equal(engine.token_counts(word_tokenizer(), zipped), plain)


def test_a_text_without_line_ends_is_cut_at_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_text, "_LINE_LIMIT", 8)
    path = tmp_path / "text"
    path.write_text("the cat the cat the cat the")

    lines = list(lines_of(path))

    assert max(map(len, lines)) <= 16
    assert " ".join(lines).split() == ["the", "cat"] * 3 + ["the"]


def test_truncation_and_padding_are_left_out_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("cat cat cat cat\ncat\n")
    tokenizer = word_tokenizer()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(pad_id=3, pad_token="the", length=8)

    counts = engine.token_counts(tokenizer, path)

    assert counts[WORDS.index("cat")] == 1e6
    assert tokenizer.truncation["max_length"] == 2
    assert tokenizer.padding["length"] == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no words; give a text file with some"),
        (b" \n\n\t\n", "holds no words"),
        (b"caf\xe9\n", "expected UTF-8 text, got the byte 0xe9 in it; save it as UTF-8"),
        (gzip.compress(b"the cat\n" * 99, mtime=0)[:-12], "its gzip data is damaged or cut short"),
        (gzip.compress(b"the cat\n", mtime=0)[:10] + b"\xff" * 30, "its gzip data is damaged"),
    ],
)
def test_a_file_without_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        engine.token_counts(word_tokenizer(), path)


@pytest.mark.parametrize("source", ["xx", "no/such/file.txt", Path("en")])
def test_neither_language_nor_file(source: str | Path) -> None:
    with pytest.raises(ParameterError, match=r"expected a language or a text file.* ar, .*en.*zh$"):
        engine.token_counts(word_tokenizer(), source)


# Languages


@pytest.mark.usefixtures("few_words")
def test_a_language_by_hand() -> None:
    tokenizer = word_tokenizer(special=True)
    capital = SENTENCES_PER_WORD
    marks = sum(rate for mark, rate in MARKS_PER_WORD.items() if mark not in ".,")
    by_hand = {
        # unknown: every dog, most marks, and the cats at a sentence's start ("Cat")
        "[UNK]": 0.2 + marks + 0.3 * capital,
        "[CLS]": SENTENCES_PER_WORD,
        "[SEP]": SENTENCES_PER_WORD,
        "the": 0.5 * (1 - capital),
        "The": 0.5 * capital,
        "cat": 0.3 * (1 - capital),
        ".": MARKS_PER_WORD["."],
        ",": MARKS_PER_WORD[","],
    }

    counts = engine.token_counts(tokenizer, "en")

    total = sum(by_hand.values())
    assert counts.tolist() == pytest.approx([by_hand[word] / total * 1e6 for word in WORDS])


@pytest.mark.usefixtures("few_words")
def test_a_tokenizer_blind_to_case_sees_no_capitals() -> None:
    counts = engine.token_counts(word_tokenizer(lower=True), "en", punctuation=False)
    assert counts.tolist() == pytest.approx([2e5, 0, 0, 5e5, 0, 3e5, 0, 0])


@pytest.mark.usefixtures("few_words")
@pytest.mark.parametrize(
    ("tokenizer", "in_text", "alone"),
    [(byte_tokenizer(), "Ġthe", "the"), (prepending_tokenizer(), "▁the", "▁▁")],
    ids=["byte level", "prepending"],
)
def test_words_stand_behind_a_space(tokenizer: Tokenizer, in_text: str, alone: str) -> None:
    counts = engine.token_counts(tokenizer, "en", punctuation=False)

    assert counts[tokenizer.token_to_id(in_text)] > 0
    assert counts[tokenizer.token_to_id(alone)] == 0


@pytest.mark.usefixtures("few_words")
def test_marks_stand_behind_a_word() -> None:
    tokenizer = prepending_tokenizer()

    counts = engine.token_counts(tokenizer, "en")

    assert counts[tokenizer.token_to_id(",")] > 0
    assert counts[tokenizer.token_to_id("▁,")] == 0


@pytest.mark.usefixtures("few_words")
def test_a_language_without_spaces_has_none() -> None:
    tokenizer = byte_tokenizer()

    counts = engine.token_counts(tokenizer, "zh", punctuation=False)

    assert counts[tokenizer.token_to_id("the")] > 0
    assert counts[tokenizer.token_to_id("Ġthe")] == 0


def test_numbers_are_spelt_out_and_no_share_is_lost() -> None:
    import wordfreq

    words = words_of("en")
    listed = wordfreq.get_frequency_dict("en")

    # wordfreq's years add up to 0.9992 of their shape's share
    assert sum(words.values()) == pytest.approx(sum(listed.values()), abs=1e-5)
    assert words["the"] == listed["the"]
    assert words["1999"] > words["1799"] > 0
    assert sum(words[f"{number}"] for number in range(10, 100)) > 0.9 * listed["00"]
    assert {"00,000", "0.00"}.isdisjoint(words)
    assert words == words_of("en")


def test_every_language_of_wordfreq_is_there() -> None:
    assert {"de", "en", "fr", "ja", "zh"} <= set(languages())
    assert set(running_text._OWN_MARKS) <= set(languages())
    with pytest.raises(ParameterError, match="no word list for 'tlh'; its languages are ar, "):
        words_of("tlh")


# Tokenizers of every make


def test_one_count_whoever_holds_the_tokenizer(tmp_path: Path, text: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = word_tokenizer(special=True)
    expected = engine.token_counts(tokenizer, text)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    for same in (wrapped, tmp_path, str(tmp_path), tmp_path / "tokenizer.json"):
        assert torch.equal(engine.token_counts(same, text), expected)


def test_a_tokenizer_in_python(tmp_path: Path) -> None:
    from transformers import ByT5Tokenizer

    path = tmp_path / "text"
    path.write_text("aab\n")
    tokenizer = ByT5Tokenizer(extra_ids=0)

    counts = engine.token_counts(tokenizer, path)

    # three special tokens come before the bytes; "</s>" ends a line
    assert counts[ord("a") + 3] == pytest.approx(5e5)
    assert counts[ord("b") + 3] == pytest.approx(2.5e5)
    assert counts[1] == pytest.approx(2.5e5)


def test_a_vocabulary_alone_is_read_by_transformers(tmp_path: Path) -> None:
    folder, path = tmp_path / "model", tmp_path / "text"
    folder.mkdir()
    signs = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "##s"]
    (folder / "vocab.txt").write_text("".join(f"{sign}\n" for sign in signs))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": 7}))
    path.write_text("cats cat\n")

    counts = engine.token_counts(folder, path, special_tokens=False)

    assert counts.tolist() == pytest.approx([0, 0, 0, 0, 0, 2e6 / 3, 1e6 / 3])


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "has no tokenizer, so how often its tokens occur cannot be counted"),
        (
            lambda folder: (folder / "tokenizer.json").write_text("{"),
            "expected a tokenizer as the tokenizers library writes it",
        ),
        (
            lambda folder: (folder / "tokenizer_config.json").write_text(
                '{"tokenizer_class": "NoSuchTokenizer"}'
            ),
            "the tokenizer of model cannot be read",
        ),
    ],
)
def test_a_model_without_a_tokenizer(tmp_path: Path, prepare: object, message: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    prepare(folder)
    with pytest.raises(SourceError, match=message):
        engine.token_counts(folder, "en")


@pytest.mark.parametrize("wrong", [3, ["the", "cat"], None])
def test_what_is_no_tokenizer_is_refused(wrong: object) -> None:
    with pytest.raises(ParameterError, match="expected a tokenizer of transformers or tokenizers"):
        engine.token_counts(wrong, "en")


def test_an_untrained_tokenizer_is_refused(text: Path) -> None:
    with pytest.raises(SourceError, match="the tokenizer has no tokens"):
        engine.token_counts(Tokenizer(models.WordLevel({}, unk_token="[UNK]")), text)


# Tables


def test_rows_of_a_model_are_counted_by_its_tokenizer(tmp_path: Path, text: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    padded = table_of([*WORDS, "[row 8]"], spec=str(tmp_path))

    counts = engine.table_token_counts(padded, text)

    assert torch.equal(counts[:-1], engine.token_counts(tokenizer, text))
    assert counts[-1] == 0
    given_it = engine.table_token_counts(table_of(padded.tokens), text, tokenizer=tokenizer)
    assert torch.equal(given_it, counts)


def test_the_tokenizer_of_another_model_is_refused(text: Path) -> None:
    with pytest.raises(SourceError, match="tokenizer has 8 tokens, but words only 2 rows"):
        engine.table_token_counts(table_of(["the", "cat"]), text, tokenizer=word_tokenizer())


def test_the_bundled_model_has_no_token_without_a_place() -> None:
    table = engine.load_table("bundled:minilm")

    counts = engine.table_token_counts(table)
    row = {token: number for number, token in enumerate(table.tokens)}

    assert counts.shape == (len(table.tokens),)
    assert float(counts.sum()) == pytest.approx(1e6)
    assert counts[row["the"]] > counts[row["cat"]] > counts[row["##oux"]]
    assert counts[row["[PAD]"]] == counts[row["[MASK]"]] == 0
    # one [CLS] for each mark that ends a sentence; words ("u.s.") and numbers hold a few more
    ends = sum(float(counts[row[mark]]) for mark in ".!?")
    assert float(counts[row["[CLS]"]]) == pytest.approx(ends, rel=0.05)


@pytest.mark.usefixtures("few_words")
def test_word_vectors_share_what_their_cases_share(vectors: str) -> None:
    tokens = ["the", "The", "THE", "Cat", "emu", ","]
    capital, total = SENTENCES_PER_WORD, 1 + sum(MARKS_PER_WORD.values())
    by_hand = [0.5 * (1 - capital), 0.5 * capital, 0, 0.3, 0, MARKS_PER_WORD[","]]

    counts = engine.table_token_counts(table_of(tokens, vectors), "en")

    assert counts.tolist() == pytest.approx([share / total * 1e6 for share in by_hand])


def test_word_vectors_are_counted_in_a_text(tmp_path: Path, vectors: str) -> None:
    path = tmp_path / "text"
    path.write_text("The cat's half-life: well-known, the Cat\n")
    tokens = ["the", "cat", "half-life", "well", "known", ":", "The"]

    counts = engine.table_token_counts(table_of(tokens, vectors), path)

    # The | cat ' s | half-life : | well - known , | the | Cat
    assert (counts * 12e-6).tolist() == pytest.approx([1, 2, 1, 1, 1, 1, 1])


def test_a_folder_without_a_tokenizer_holds_words(tmp_path: Path, text: Path) -> None:
    (tmp_path / "vocab.txt").write_text("the\ncat\n")  # of vectors in shards, not of a model

    counts = engine.table_token_counts(table_of(["the", "cat"], str(tmp_path)), text)

    # The cat , the cat . | the dog: a row that is there for both cases takes both
    assert (counts * 8e-6).tolist() == pytest.approx([3, 2])


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (RowNumbers(3), "named by number only"),
        (["row 0", "row 1"], "named by number only, so how often they occur cannot be known"),
        (["cat", "##s"], "1 of the 2 tokens of words are pieces of words"),
        (["qzqzq", "xyxyx"], "none of the 2 tokens of words occurs in en"),
    ],
)
def test_rows_that_no_text_names(vectors: str, tokens: Sequence[str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        engine.table_token_counts(table_of(tokens, vectors), "en")


def test_the_bundled_tokenizer_alone_will_do(tmp_path: Path, text: Path) -> None:
    from engine.sources.bundled import bundled_files

    source = bundled_files("minilm").find("tokenizer.json")
    assert source is not None
    shutil.copy(source, tmp_path)
    ours = engine.token_counts(tmp_path, text)
    assert torch.equal(ours, engine.token_counts("bundled:minilm", text))
