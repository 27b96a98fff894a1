"""A small world in which every check has something to find: words, texts, models, data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from engine.evaluation.checks.valence import LEAST_VALENCE, read_lexicon
from engine.evaluation.checks.words import HEADLINE_PAIRS
from engine.evaluation.results import Role
from engine.evaluation.subject import CheckOptions, Subject
from engine.evaluation.variants import Variant, of_factorization, original
from engine.factorization import Factorization
from engine.methods import factorize
from engine.sources import load_table
from engine.table import EmbeddingTable

WIDTH = 16
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SIZES = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


def vocabulary() -> list[str]:
    """Special tokens, then 120 words that people have an opinion on, pleasant and not by turns."""
    lexicon = read_lexicon()
    good = [word for word, valence in lexicon.items() if valence > LEAST_VALENCE][:60]
    bad = [word for word, valence in lexicon.items() if valence < -LEAST_VALENCE][:60]
    return [*SPECIAL, *(word for pair in zip(good, bad, strict=True) for word in pair)]


def rows() -> Tensor:
    """Pleasant words lie apart from the others, and every word in a place of its own."""
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(len(vocabulary()), WIDTH, generator=generator)
    sides = torch.ones(len(found))
    sides[len(SPECIAL) + 1 :: 2] = -1
    found[len(SPECIAL) :, 0] = 4 * sides[len(SPECIAL) :]
    return found


def make_model(folder: Path, family: str = "BertForMaskedLM", *, sentences: bool = True) -> Path:
    """A model that wears `rows`, with a tokenizer of whole words, in a folder."""
    words = vocabulary()
    config: Any
    if family.startswith("Bert"):
        config = transformers.BertConfig(
            vocab_size=len(words), hidden_size=WIDTH, max_position_embeddings=40, **_SIZES
        )
    else:
        config = transformers.LlamaConfig(
            vocab_size=len(words), hidden_size=WIDTH, tie_word_embeddings=False, **_SIZES
        )
    torch.manual_seed(0)
    model = getattr(transformers, family)(config).eval()
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(rows())
        if family == "LlamaForCausalLM":  # a head of its own, with an opinion: tied, the model
            model.lm_head.weight.normal_()  # would repeat each word, in whatever order rows are
    transformers.logging.disable_progress_bar()
    model.save_pretrained(folder)
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if family.startswith("Bert"):
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            special_tokens=[("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])],
        )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
    ).save_pretrained(folder)
    if sentences:
        (folder / "modules.json").write_text('[{"path": ""}, {"path": "1_Pooling"}]')
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    return folder


def make_texts(count: int, *, seed: int = 1, length: int = 6) -> list[str]:
    """Different texts of these words."""
    words = vocabulary()[len(SPECIAL) :]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(words), (count, length), generator=generator).tolist()
    return [" ".join(words[number] for number in numbers) for numbers in drawn]


def write_tsv(path: Path, header: str, lines: list[tuple[object, ...]]) -> None:
    """A file as the data folder has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "".join("\t".join(map(str, line)) + "\n" for line in lines)
    path.write_text("\t".join(header.split()) + "\n" + body, encoding="utf-8")


def write_data(folder: Path, table: EmbeddingTable) -> Path:
    """STS-B, SST-2 and a word set, whose answers are in the rows: words alike, texts pleasant.

    What people say of two texts is how alike the sums of their words' rows are, which a model of
    one random layer keeps well enough.
    """
    places = {word: row for row, word in enumerate(table.tokens)}
    matrix = table.matrix

    def meaning(text: str) -> Tensor:
        return torch.stack([matrix[places[word]] for word in text.split()]).mean(dim=0)

    def alike(first: str, second: str) -> float:
        return float(torch.cosine_similarity(meaning(first), meaning(second), dim=0))

    header = "idx sentence1 sentence2 label"
    for number, name in enumerate(("train", "dev")):
        # of two words, so that texts differ much
        firsts, seconds = (make_texts(80, seed=10 * number + side, length=2) for side in (2, 3))
        pairs = zip(firsts, seconds, strict=True)
        write_tsv(
            folder / "stsb" / f"{name}.tsv",
            header,
            [(i, a, b, f"{2.5 + 2.5 * alike(a, b):.6f}") for i, (a, b) in enumerate(pairs)],
        )
        texts = make_texts(120, seed=4 + number, length=3)
        write_tsv(
            folder / "sst2" / f"{name}.tsv",
            "idx sentence label",
            [(i, text, int(meaning(text)[0] > 0)) for i, text in enumerate(texts)],
        )
    pairs = [tuple(text.split()) for text in make_texts(HEADLINE_PAIRS, seed=7, length=2)]
    write_tsv(
        folder / "words" / "simlex999.tsv",
        "word1 word2 score",
        [(a, b, f"{alike(a, b):.6f}") for a, b in pairs],
    )
    words = table.tokens[len(SPECIAL) :]
    questions = [("same", *words[n : n + 2], *words[n : n + 2]) for n in range(0, 40, 2)]
    write_tsv(folder / "words" / "google-analogies.tsv", "section a b c d", questions)
    return folder


def make_subject(folder: Path, family: str = "BertForMaskedLM", **options: object) -> Subject:
    """A model with data for every check."""
    table = load_table(make_model(folder / "model", family))
    data = write_data(folder / "data", table)
    text = folder / "text.txt"
    text.write_text("\n".join(make_texts(40)) + "\n", encoding="utf-8")
    return Subject(table, CheckOptions(data=str(data), text=str(text), **options))  # type: ignore


def _shuffled(matrix: Tensor) -> Factorization:
    """Every number kept, every row in the place of another."""
    order = torch.randperm(len(matrix), generator=torch.Generator().manual_seed(5))
    return factorize(matrix[order], method="svd", j=matrix.shape[1])


def _mislabelled(matrix: Tensor) -> Factorization:
    """Rows that are read with the bases of other subspaces."""
    plan = factorize(matrix, k=3, j=8, n_init=1)
    order = torch.randperm(len(matrix), generator=torch.Generator().manual_seed(6))
    return Factorization(
        labels=plan.labels[order],
        bases=plan.bases,
        coordinates=plan.coordinates,
        record=plan.record,
    )


BROKEN: dict[str, Callable[[Tensor], Factorization]] = {
    "rows shuffled": _shuffled,
    "labels permuted": _mislabelled,
}


def variants_of(table: EmbeddingTable, **plans: Factorization) -> tuple[Variant, ...]:
    """The original and some plans."""
    role: Role = "compressed"
    made = (of_factorization(table, plan, name=name, role=role) for name, plan in plans.items())
    return (original(table), *made)
