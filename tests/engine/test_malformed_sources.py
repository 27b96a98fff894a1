"""Every kind of broken input gets one clear sentence: what was expected, what came, what to do."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy_format
from safetensors.torch import save as safetensors_bytes
from safetensors.torch import save_file

from engine.errors import EngineError, ShapeError, SourceError
from engine.sources import load_table

GOOD = np.eye(4, 3, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Malformed:
    """One broken input: how it is made, under which name, and the whole message it must give."""

    case: str
    name: str
    make: Callable[[Path], object]
    message: str
    error: type[EngineError] = SourceError


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def npy_bytes(array: np.ndarray, *, pickled: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=pickled)
    return stream.getvalue()


def npy(array: np.ndarray, *, pickled: bool = False) -> Callable[[Path], object]:
    return raw(npy_bytes(array, pickled=pickled))


def npy_claiming(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(stream, header)
    return stream.getvalue() + b"\0" * 48


def npz(**members: bytes) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(f"{name}.npy", content)

    return make


def flipped_npz(path: Path) -> None:
    np.savez(path, weight=GOOD)
    content = bytearray(path.read_bytes())
    content[content.index(b"\x00\x00\x80?")] ^= 1  # one bit of the first 1.0
    path.write_bytes(content)


def safetensors(**tensors: torch.Tensor) -> Callable[[Path], object]:
    return lambda path: save_file(tensors, path)


def safetensors_claiming(shape: list[int], end: int) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"\0" * 48


def folder(**files: bytes | str) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.mkdir()
        for name, content in files.items():
            target = path / name.replace("__", ".")
            target.write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def with_nan(value: float) -> np.ndarray:
    matrix = GOOD.copy()
    matrix[2, 1] = value
    return matrix


CASES = [
    # Nothing there, or something of another kind.
    Malformed(
        "missing file", "gone.npy", lambda p: None, "there is no file {path}; check the path"
    ),
    Malformed(
        "unknown ending",
        "table.csv",
        raw(b"1,2,3"),
        "table.csv: expected a file that ends in .npy, .npz, .safetensors, .vec, .txt, .vec.gz or "
        ".txt.gz, or a model folder, got '.csv'; convert it, or correct its name",
    ),
    *(
        Malformed(
            f"pickle by its name {suffix}",
            f"table{suffix}",
            raw(pickle.dumps([1, 2])),
            f"table{suffix}: {suffix} files are pickles, or binary of unknown kind, and can run "
            "code when they are read; save the matrix as .safetensors "
            "(safetensors.torch.save_file) or .npy (numpy.save), and word vectors as .vec text",
        )
        for suffix in (".pkl", ".pt", ".pth", ".bin", ".ckpt")
    ),
    # .npy
    Malformed(
        "empty .npy",
        "table.npy",
        raw(b""),
        "table.npy: expected a NumPy array, but the file is empty, damaged or something else; "
        "save it again with numpy.save",
    ),
    Malformed(
        "no .npy",
        "table.npy",
        raw(b"\x93NUMPY\x01\x00\x10\x00{'descr': ((((((\n"),
        "table.npy: expected a NumPy array, but the file is empty, damaged or something else; "
        "save it again with numpy.save",
    ),
    Malformed(
        "pickle in .npy's clothes",
        "table.npy",
        raw(pickle.dumps(GOOD)),
        "table.npy: expected a NumPy array, but the file is empty, damaged or something else; "
        "save it again with numpy.save",
    ),
    Malformed(
        "objects in .npy",
        "table.npy",
        npy(np.array([[1, None]], dtype=object), pickled=True),
        "table.npy holds Python objects, stored as pickle, which can run code when it is read; "
        "save it again as a float32 array: numpy.save(path, array.astype('float32'))",
    ),
    Malformed(
        "cut short",
        "table.npy",
        raw(npy_bytes(GOOD)[:-4]),
        "table.npy: its header declares float32 (4 × 3), 48 bytes, but 44 bytes follow; "
        "the file was cut short or altered, save it again",
    ),
    Malformed(
        "a header that promises terabytes",
        "table.npy",
        raw(npy_claiming((10**9, 10**3))),
        "table.npy: its header declares float32 (1,000,000,000 × 1,000), 4,000,000,000,000 bytes, "
        "but 48 bytes follow; the file was cut short or altered, save it again",
    ),
    Malformed(
        "a negative length",
        "table.npy",
        raw(npy_claiming((-4, -3))),
        "table.npy: an embedding table needs shape (rows, columns), both at least 1, got (-4, -3); "
        "save the one matrix that holds a row for each token",
        ShapeError,
    ),
    Malformed(
        "one axis",
        "table.npy",
        npy(np.zeros(5, np.float32)),
        "table.npy: an embedding table needs shape (rows, columns), both at least 1, got (5,); "
        "save the one matrix that holds a row for each token",
        ShapeError,
    ),
    Malformed(
        "no rows",
        "table.npy",
        npy(np.zeros((0, 5), np.float32)),
        "table.npy: an embedding table needs shape (rows, columns), both at least 1, got (0, 5); "
        "save the one matrix that holds a row for each token",
        ShapeError,
    ),
    *(
        Malformed(
            f"{dtype} numbers",
            "table.npy",
            npy(np.ones((2, 2), dtype)),
            "table.npy: expected floating-point numbers (float16, bfloat16, float32, float64), "
            f"got {dtype}; convert it to float32 first, and if it is quantised, dequantise it",
        )
        for dtype in ("int64", "complex64", "bool")
    ),
    *(
        Malformed(
            f"{value} in a row",
            "table.npy",
            npy(with_nan(value)),
            "table: row 2 holds NaN or infinity; every entry must be a finite number. "
            "Remove or repair that row",
        )
        for value in (float("nan"), float("inf"), float("-inf"))
    ),
    Malformed(
        "float64 beyond float32",
        "table.npy",
        npy(np.array([[0.0], [1e300]])),
        "table: row 1 holds NaN or infinity; every entry must be a finite number. "
        "Remove or repair that row",
    ),
    # .npz
    Malformed(
        "no .npz",
        "table.npz",
        raw(b"hello"),
        "table.npz: expected a .npz archive, but it is damaged or something else "
        "(File is not a zip file); save it again with numpy.savez",
    ),
    Malformed(
        "an empty .npz",
        "table.npz",
        npz(),
        "table.npz: expected at least one array, but the file holds none; save the matrix in it, "
        "or give another file",
    ),
    Malformed(
        "a flipped bit",
        "table.npz",
        flipped_npz,
        "table.npz: expected a .npz archive, but it is damaged or something else "
        "(Bad CRC-32 for file 'weight.npy'); save it again with numpy.savez",
    ),
    Malformed(
        "objects in .npz",
        "table.npz",
        npz(weight=npy_bytes(np.array([[None]], dtype=object), pickled=True)),
        "table.npz, array 'weight' holds Python objects, stored as pickle, which can run code when "
        "it is read; save it again as a float32 array: numpy.save(path, array.astype('float32'))",
    ),
    Malformed(
        "a member that promises terabytes",
        "table.npz",
        npz(weight=npy_claiming((10**9, 10**3))),
        "table.npz, array 'weight': its header declares float32 (1,000,000,000 × 1,000), "
        "4,000,000,000,000 bytes, but 48 bytes follow; "
        "the file was cut short or altered, save it again",
    ),
    Malformed(
        "two matrices to choose from",
        "table.npz",
        npz(a=npy_bytes(GOOD), b=npy_bytes(GOOD), c=npy_bytes(np.zeros(2))),
        "table.npz: expected exactly one array with two axes of floating-point numbers, found 2; "
        "give the name of one: a float32 (4 × 3), b float32 (4 × 3), c float64 (2)",
    ),
    # .safetensors
    Malformed(
        "no .safetensors",
        "table.safetensors",
        raw(b"\xff" * 100),
        "table.safetensors: expected a safetensors file, but it is empty, damaged or something "
        "else (Error while deserializing header: header too large); save or download it again",
    ),
    Malformed(
        "offsets beyond the file",
        "table.safetensors",
        raw(safetensors_claiming([1000, 1000], 4_000_000)),
        "table.safetensors: expected a safetensors file, but it is empty, damaged or something "
        "else (Error while deserializing header: incomplete metadata, file not fully covered); "
        "save or download it again",
    ),
    Malformed(
        "integers in .safetensors",
        "table.safetensors",
        safetensors(weight=torch.ones(2, 2, dtype=torch.int8)),
        "table.safetensors, tensor 'weight': expected floating-point numbers (float16, bfloat16, "
        "float32, float64), got I8; convert it to float32 first, and if it is quantised, "
        "dequantise it",
    ),
    Malformed(
        "three axes",
        "table.safetensors",
        safetensors(weight=torch.ones(2, 2, 2)),
        "table.safetensors, tensor 'weight': an embedding table needs shape (rows, columns), both "
        "at least 1, got (2, 2, 2); save the one matrix that holds a row for each token",
        ShapeError,
    ),
    # Word vectors.
    Malformed(
        "an empty text",
        "table.vec",
        raw(b""),
        "table.vec: expected a token and its numbers on each line, but the file is empty or its "
        "first line blank; give a word-vector text file",
    ),
    Malformed(
        "a list of words",
        "table.txt",
        raw(b"cat\ndog\n"),
        "table.txt, line 1: expected a token and its numbers, got 'cat'; give a word-vector text "
        "file here, and a list of tokens as the file of tokens",
    ),
    Malformed(
        "binary in .vec",
        "table.vec",
        raw(b"\0" * (1 << 24)),
        "table.vec: expected a token and its numbers on each line, but the first 16 MB hold no "
        "line end; give a word-vector text file",
    ),
    Malformed(
        "a row too short",
        "table.vec",
        raw(b"cat 1 2 3\ndog 1 2\n"),
        "table.vec, line 2: expected 3 numbers after the token, as in the first row, got 2; "
        "correct or remove that line",
    ),
    Malformed(
        "a row too long",
        "table.vec",
        raw(b"cat 1 2 3\ndog 1 2 3 4\n"),
        "table.vec, line 2: expected 3 numbers after the token, as in the first row, got 4; "
        "correct or remove that line",
    ),
    Malformed(
        "a blank line within",
        "table.vec",
        raw(b"cat 1 2 3\n\ndog 1 2 3\n"),
        "table.vec, line 2: expected 3 numbers after the token, as in the first row, got 0; "
        "correct or remove that line",
    ),
    Malformed(
        "a word for a number",
        "table.vec",
        raw(b"cat 1 2 3\ndog 1 two 3\n"),
        "table.vec, line 2: expected 3 numbers after the token, got 'two'; "
        "correct or remove that line",
    ),
    Malformed(
        "a header with too many rows",
        "table.vec",
        raw(b"3 2\ncat 1 2\ndog 1 2\n"),
        "table.vec: its first line declares 3 rows, but 2 follow; the file was cut short or "
        "altered, correct that line or download it again",
    ),
    Malformed(
        "a header with the wrong width",
        "table.vec",
        raw(b"2 9000000000000\ncat 1 2\ndog 1 2\n"),
        "table.vec: its first line declares 9,000,000,000,000 numbers a row, but the first row has "
        "2; correct that line or download it again",
    ),
    Malformed(
        "nan as text",
        "table.vec",
        raw(b"cat 1 2\ndog nan 2\n"),
        "table: row 1 holds NaN or infinity; every entry must be a finite number. "
        "Remove or repair that row",
    ),
    # Gzipped word vectors.
    Malformed(
        "plain text in .vec.gz",
        "table.vec.gz",
        raw(b"cat 1 2\n"),
        "table.vec.gz: expected text compressed with gzip, but it is cut short, damaged or "
        "something else (Not a gzipped file (b'ca')); download it again, or decompress it first",
    ),
    Malformed(
        "gzip cut short",
        "table.vec.gz",
        raw(gzip.compress(b"cat 1 2\n" * 99, mtime=0)[:-9]),
        "table.vec.gz: expected text compressed with gzip, but it is cut short, damaged or "
        "something else (Compressed file ended before the end-of-stream marker was reached); "
        "download it again, or decompress it first",
    ),
    Malformed(
        "a gzipped line without end",
        "table.txt.gz",
        raw(gzip.compress(b"cat 1 2\ndog 1 2" + b" " * (1 << 24), mtime=0)),
        "table.txt.gz, line 2: expected a token and its numbers, but 16,777,216 characters hold no "
        "line end; correct or remove that line",
    ),
    Malformed(
        "an empty gzip",
        "table.txt.gz",
        raw(gzip.compress(b"", mtime=0)),
        "table.txt.gz: expected a token and its numbers on each line, but the file is empty or its "
        "first line blank; give a word-vector text file",
    ),
    # Model folders.
    Malformed(
        "a folder that is no model",
        "model",
        folder(readme__md="hello"),
        "model: expected a model folder with config.json, but it has none; give the folder that "
        "holds it, or one of the files in it",
    ),
    Malformed(
        "a configuration that is no JSON",
        "model",
        folder(config__json="{"),
        "model: config.json is not JSON (Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)); download it again",
    ),
    Malformed(
        "a configuration that is a list",
        "model",
        folder(config__json="[]"),
        "model: config.json should hold a JSON object, got a list; download it again",
    ),
    Malformed(
        "a pickled checkpoint",
        "model",
        folder(config__json="{}", pytorch_model__bin=pickle.dumps({})),
        "model has only pytorch_model.bin, a pickle, which can run code when it is read; save it "
        "as safetensors: AutoModel.from_pretrained(folder).save_pretrained(new_folder), or look "
        "for a revision on the hub that has model.safetensors",
    ),
    Malformed(
        "no checkpoint",
        "model",
        folder(config__json="{}"),
        "model: expected model.safetensors or model.safetensors.index.json beside config.json, "
        "found neither; save the model with save_pretrained",
    ),
    Malformed(
        "an index that points outside",
        "model",
        folder(
            config__json="{}",
            model__safetensors__index__json='{"weight_map": {"wte.weight": "../secret"}}',
        ),
        "model: model.safetensors.index.json should name files of its own folder, got '../secret'; "
        "download the model again",
    ),
    Malformed(
        "an index without a map",
        "model",
        folder(config__json="{}", model__safetensors__index__json="{}"),
        "model: model.safetensors.index.json should say which file holds which tensor under "
        "“weight_map”, but says nothing; download the model again",
    ),
    Malformed(
        "a missing shard",
        "model",
        folder(
            config__json='{"vocab_size": 3}',
            model__safetensors__index__json='{"weight_map": {"wte.weight": "a.safetensors"}}',
        ),
        "model: model.safetensors.index.json names the file a.safetensors, but it is missing; "
        "download the model again",
    ),
]


@pytest.mark.parametrize("malformed", CASES, ids=lambda case: case.case)
def test_the_whole_message(tmp_path: Path, malformed: Malformed) -> None:
    path = tmp_path / malformed.name
    malformed.make(path)
    expected = malformed.message.replace("{path}", str(path))

    with pytest.raises(malformed.error, match=f"^{re.escape(expected)}$"):
        load_table(path)


def save_model_folder(path: Path, config: dict[str, object], **tensors: torch.Tensor) -> None:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    save_file(tensors, path / "model.safetensors")


def test_an_architecture_that_transformers_does_not_know(tmp_path: Path) -> None:
    save_model_folder(tmp_path / "m", {"model_type": "martian"}, a=torch.ones(2, 2))
    with pytest.raises(SourceError, match=r"m: the installed transformers cannot tell .*martian"):
        load_table(tmp_path / "m")


def test_code_that_comes_with_a_model_is_never_run(tmp_path: Path) -> None:
    config = {
        "model_type": "martian",
        "auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"},
    }
    save_model_folder(tmp_path / "m", config, a=torch.ones(2, 2))
    (tmp_path / "m" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(SourceError, match=r"cannot tell which tensor is its input embedding"):
        load_table(tmp_path / "m")
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_without_its_embedding(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "vocab_size": 4, "n_embd": 4, "n_layer": 1, "n_head": 1}
    config |= {"bos_token_id": 0, "eos_token_id": 0}
    save_model_folder(tmp_path / "m", config, other=torch.ones(2, 2))
    with pytest.raises(
        SourceError, match=r"embedding of a 'gpt2' model \(wte.weight, 4 columns\), but the check"
    ):
        load_table(tmp_path / "m")


def test_several_tables_and_no_architecture(tmp_path: Path) -> None:
    save_model_folder(tmp_path / "m", {}, a=torch.ones(2, 2), b=torch.ones(2, 2))
    with pytest.raises(SourceError, match=r"names no model_type, and the checkpoint has 2 tensors"):
        load_table(tmp_path / "m")


def test_a_damaged_tokenizer(tmp_path: Path) -> None:
    save_model_folder(tmp_path / "m", {}, a=torch.ones(2, 2))
    (tmp_path / "m" / "tokenizer.json").write_text("{}")
    with pytest.raises(
        SourceError, match=r"tokenizer.json: expected a tokenizer as the tokenizers"
    ):
        load_table(tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").unlink()
    (tmp_path / "m" / "vocab.json").write_text('{"a": "b"}')
    with pytest.raises(SourceError, match=r"vocab.json: expected JSON of the form \{token: row\}"):
        load_table(tmp_path / "m")


def test_arguments_that_do_not_fit_the_kind(tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", GOOD)
    (tmp_path / "words.vec").write_text("cat 1 2\n")
    with pytest.raises(SourceError, match=r"table.npy holds one array .*, but the name 'a'"):
        load_table(tmp_path / "table.npy", tensor="a")
    with pytest.raises(SourceError, match=r"words.vec holds its tokens .*, but the file 't.txt'"):
        load_table(tmp_path / "words.vec", tokens="t.txt")


def test_an_unknown_bundled_model() -> None:
    with pytest.raises(
        SourceError, match=r"no bundled model is named 'bert'; choose one of: bundled:minilm"
    ):
        load_table("bundled:bert")


def test_a_path_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot be read \(File name too long\); check the path"):
        load_table(tmp_path / ("x" * 300))


def file_bytes(suffix: str) -> bytes:
    """A good file of each kind, to be damaged."""
    stream = io.BytesIO()
    if suffix == ".npy":
        np.save(stream, GOOD)
    elif suffix == ".npz":
        np.savez_compressed(stream, weight=GOOD)
    elif suffix == ".safetensors":
        return safetensors_bytes({"weight": torch.from_numpy(GOOD)})
    elif suffix == ".vec.gz":
        return gzip.compress(b"2 3\ncat 1 2.5 -3\ndog 4 5 6e-1\n")
    else:
        return b"2 3\ncat 1 2.5 -3\ndog 4 5 6e-1\n"
    return stream.getvalue()


# Damage can make a header look like one of Python 2, which NumPy reads and remarks on.
@pytest.mark.filterwarnings("ignore:Reading .* required additional header parsing:UserWarning")
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".vec", ".vec.gz"])
@settings(max_examples=150)
@given(
    damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
    cut=st.floats(0, 1),
)
def test_no_damage_ends_in_anything_but_a_table_or_our_error(
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    damage: list[tuple[float, int]],
    cut: float,
) -> None:
    content = bytearray(file_bytes(suffix))
    for place, value in damage:
        content[int(place * (len(content) - 1))] = value
    path = tmp_path_factory.mktemp("damaged") / f"table{suffix}"
    path.write_bytes(content if cut > 0.5 else content[: int(2 * cut * len(content))])

    try:
        matrix, message = load_table(path).matrix, ""
    except EngineError as error:
        matrix, message = torch.zeros(1), str(error)
    assert torch.isfinite(matrix).all()
    assert "\n" not in message
