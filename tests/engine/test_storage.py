"""On disk: what is counted is what is stored, what is saved comes back, damage is said."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import engine
from engine.errors import FormatError, ParameterError
from engine.factorization import Factorization
from engine.storage import RECORD_FILE, TENSOR_FILE
from tests.engine.coded_plans import coded_plan


def fitted(k: int, dtype: torch.dtype = torch.float32) -> Factorization:
    points = torch.randn(61, 7, generator=torch.Generator().manual_seed(k)).to(dtype)
    return engine.factorize(points, k=k, j=2, n_init=2)


def stored_tensors(folder: Path) -> dict[str, tuple[list[int], int]]:
    """Shape and bytes of every tensor, from the file's header by the format's own definition.

    Eight bytes of length, then JSON: name → dtype, shape, offsets; then the data.
    """
    raw = (folder / TENSOR_FILE).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    found = {
        name: (entry["shape"], entry["data_offsets"][1] - entry["data_offsets"][0])
        for name, entry in header.items()
    }
    assert sum(size for _, size in found.values()) == len(raw) - 8 - length
    return found


@pytest.mark.parametrize("affine", [False, True])
def test_dimensions_that_differ_and_offsets_come_back(affine: bool, tmp_path: Path) -> None:
    points = torch.randn(61, 7, generator=torch.Generator().manual_seed(3)) + 5
    found = engine.factorize(points, j=[0, 3, 7], affine=affine, n_init=2)
    found.save(tmp_path)
    tensors = stored_tensors(tmp_path)
    assert found.stored_bytes == sum(size for _, size in tensors.values())
    assert ("offset.0" in tensors) == affine
    again = Factorization.load(tmp_path)
    assert again.dimensions == (0, 3, 7)
    assert again.parameters == found.parameters
    assert torch.equal(again.reconstruct(), found.reconstruct())


def test_a_missing_offset_is_damage(tmp_path: Path) -> None:
    points = torch.randn(20, 4, generator=torch.Generator().manual_seed(3))
    engine.factorize(points, k=2, j=1, affine=True, n_init=1).save(tmp_path)
    tensors = load_file(tmp_path / TENSOR_FILE)
    del tensors["offset.1"]
    save_file({name: part.clone() for name, part in tensors.items()}, tmp_path / TENSOR_FILE)
    with pytest.raises(FormatError, match=r"offset\.1"):
        Factorization.load(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("k", "bits"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (9, 4)])
def test_what_is_counted_is_what_is_stored(
    k: int, bits: int, dtype: torch.dtype, tmp_path: Path
) -> None:
    found = fitted(k, dtype)
    found.save(tmp_path)
    tensors = stored_tensors(tmp_path)
    numbers = [math.prod(shape) for name, (shape, _) in tensors.items() if name != "labels"]
    assert found.parameters == sum(numbers) == 61 * 2 + k * 2 * 7
    assert found.stored_bytes == sum(size for _, size in tensors.values())
    assert found.label_bytes == (61 * bits + 7) // 8
    assert ("labels" in tensors) == (k > 1)
    if k > 1:
        assert tensors["labels"][1] == found.label_bytes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 9])
def test_saved_and_loaded_is_equal(k: int, dtype: torch.dtype, tmp_path: Path) -> None:
    found = fitted(k, dtype)
    found.save(tmp_path / "new" / "folder")
    loaded = Factorization.load(tmp_path / "new" / "folder")
    assert torch.equal(loaded.labels, found.labels)
    assert torch.equal(loaded.reconstruct(), found.reconstruct())
    assert loaded.record == found.record
    assert loaded.stored_bytes == found.stored_bytes
    assert loaded.bases[0].dtype == dtype


def test_an_empty_subspace_survives(tmp_path: Path) -> None:
    found = engine.factorize(torch.zeros(4, 3), k=3, j=1)
    assert 0 in found.sizes
    found.save(tmp_path)
    assert Factorization.load(tmp_path).sizes == found.sizes


def test_saving_again_replaces_and_leaves_only_two_files(tmp_path: Path) -> None:
    fitted(2).save(tmp_path)
    fitted(3).save(tmp_path)
    assert Factorization.load(tmp_path).k == 3
    assert {path.name for path in tmp_path.iterdir()} == {TENSOR_FILE, RECORD_FILE}


def test_nothing_in_the_files_is_pickled(tmp_path: Path) -> None:
    fitted(2).save(tmp_path)
    assert json.loads((tmp_path / RECORD_FILE).read_text(encoding="utf-8"))["schema"] == 1
    assert stored_tensors(tmp_path)


@pytest.mark.parametrize("basis_bits", [16, 8])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("affine", [False, True])
def test_coded_factors_come_back_bit_for_bit(
    bits: int, basis_bits: int, affine: bool, tmp_path: Path
) -> None:
    points = torch.randn(61, 7, generator=torch.Generator().manual_seed(3))
    plan = engine.factorize(points, j=[0, 3, 7], affine=affine, n_init=2)
    found = plan.quantize(bits=bits, basis_bits=basis_bits)
    found.save(tmp_path)
    tensors = stored_tensors(tmp_path)
    assert found.stored_bytes == sum(size for _, size in tensors.values())
    assert len(tensors) == 3 * (3 + (basis_bits == 8) + affine) + 1
    loaded = Factorization.load(tmp_path)
    assert loaded.coding == found.coding
    assert loaded.record == found.record
    assert loaded.stored_bytes == found.stored_bytes
    assert torch.equal(loaded.reconstruct(), found.reconstruct())
    with pytest.raises(ParameterError, match="quantised already"):
        loaded.quantize(bits=8)


def test_what_is_not_coded_is_written_as_older_versions_read_it(tmp_path: Path) -> None:
    fitted(2).save(tmp_path / "plain")
    fitted(2).quantize(bits=8).save(tmp_path / "coded")
    headers = [
        json.loads((tmp_path / name / RECORD_FILE).read_text(encoding="utf-8"))
        for name in ("plain", "coded")
    ]
    assert [header["schema"] for header in headers] == [1, 2]
    assert "coding" not in headers[0]
    assert headers[1]["coding"] == {"bits": 8, "basis_bits": 16}


Damage = Callable[[Path], None]


def change_header(**changes: object) -> Damage:
    def apply(folder: Path) -> None:
        path = folder / RECORD_FILE
        header = json.loads(path.read_text(encoding="utf-8")) | changes
        path.write_text(json.dumps(header))

    return apply


def drop_header(name: str) -> Damage:
    def apply(folder: Path) -> None:
        path = folder / RECORD_FILE
        header = json.loads(path.read_text(encoding="utf-8"))
        del header[name]
        path.write_text(json.dumps(header))

    return apply


def change_record(**changes: object) -> Damage:
    def apply(folder: Path) -> None:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))["record"]
        change_header(record=record | changes)(folder)

    return apply


def change_tensors(**changes: torch.Tensor | None) -> Damage:
    def apply(folder: Path) -> None:
        tensors = {name: value.clone() for name, value in load_file(folder / TENSOR_FILE).items()}
        for name, value in changes.items():
            tensors.pop(name.replace("_", "."), None)
            if value is not None:
                tensors[name.replace("_", ".")] = value
        save_file(tensors, folder / TENSOR_FILE)

    return apply


def cut(name: str, keep: float) -> Damage:
    def apply(folder: Path) -> None:
        raw = (folder / name).read_bytes()
        (folder / name).write_bytes(raw[: int(keep * len(raw))])

    return apply


def write(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text) and None


def remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no record": (remove(RECORD_FILE), r"holds no factorization .*json is missing"),
    "no tensors": (remove(TENSOR_FILE), r"factorization\.safetensors cannot be read"),
    "tensors cut": (cut(TENSOR_FILE, 0.7), r"factorization\.safetensors cannot be read"),
    "tensors empty": (cut(TENSOR_FILE, 0), r"factorization\.safetensors cannot be read"),
    "tensors are text": (write(TENSOR_FILE, "hello"), r"factorization\.safetensors cannot be read"),
    "record cut": (cut(RECORD_FILE, 0.5), r"factorization\.json cannot be read"),
    "record empty": (cut(RECORD_FILE, 0), r"factorization\.json cannot be read"),
    "record is a list": (write(RECORD_FILE, "[1, 2]"), "is not a factorization of ours"),
    "record of another program": (write(RECORD_FILE, '{"a": 1}'), "is not a factorization of ours"),
    "newer schema": (change_header(schema=6), "has schema 6, this version reads up to 5; update"),
    "schema as text": (change_header(schema="1"), "has schema 1, this version reads up to 5"),
    "codes of before": (change_header(schema=3), "of a development version, .*; compress again"),
    "coded, but not how": (change_header(schema=2), r"should hold \[.coding.*, it holds"),
    "unknown key": (change_header(color="red"), r"should hold .*it holds \['color'"),
    "missing key": (drop_header("rows"), r"should hold \[.*'rows'.* it holds"),
    "unknown key in the fit's record": (change_record(color="red"), "the record should hold"),
    "no list of notes": (change_record(notes=None), "is damaged: 'NoneType'"),
    "starts are numbers": (change_record(starts=[1, 2]), "is damaged: 'int'"),
    "a start says too much": (
        change_record(starts=[{"cost_history": [], "color": "red"}]),
        "is damaged: .*'color'",
    ),
    "a start says too little": (change_record(starts=[{"cost": 1}]), "'cost_history' is missing"),
    "the fit's record is a number": (change_header(record=3), "is damaged: 'int'"),
    "other width": (change_header(columns=8), "json and factorization.safetensors disagree"),
    "fewer rows": (change_header(rows=60), "60 numbers of 2 bits need 15 bytes, got 16"),
    "rows as text": (change_header(rows="61"), "is damaged"),
    "negative rows": (change_header(rows=-5), "need -1 bytes, got 16"),
    "other dimensions": (change_header(dimensions=[2, 2, 1]), "disagree"),
    "a subspace too many": (change_header(dimensions=[2, 2, 2, 2]), r"'basis\.3' is missing"),
    "a subspace too few": (change_header(dimensions=[2, 2]), "numbers of 1 bits need 8 bytes"),
    "no dimensions": (change_header(dimensions=[]), "is damaged"),
    "labels short": (
        change_tensors(labels=torch.zeros(3, dtype=torch.uint8)),
        "61 numbers of 2 bits need 16 bytes, got 3",
    ),
    "labels missing": (change_tensors(labels=None), "'labels' is missing"),
    "labels of no subspace": (
        change_tensors(labels=torch.full((16,), 255, dtype=torch.uint8)),
        r"is damaged: labels must be one number a row, each in 0 … 2",
    ),
    "labels as floats": (change_tensors(labels=torch.zeros(16)), "is damaged"),
    "basis missing": (change_tensors(basis_1=None), r"'basis\.1' is missing"),
    "basis flat": (change_tensors(basis_1=torch.ones(14)), "must be matrices of one dtype"),
    "basis of another dtype": (
        change_tensors(basis_1=torch.ones(2, 7).double()),
        "must be matrices of one dtype",
    ),
    "coordinates short": (change_tensors(coordinates_2=torch.ones(1, 2)), "is damaged: subspace 2"),
    "a tensor too many": (change_tensors(extra=torch.ones(1)), "disagree"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_said(name: str, tmp_path: Path) -> None:
    fitted(3).save(tmp_path)
    Factorization.load(tmp_path)
    damage, message = DAMAGES[name]
    damage(tmp_path)
    with pytest.raises(FormatError, match=message):
        Factorization.load(tmp_path)


CODED_DAMAGES: dict[str, tuple[Damage, str]] = {
    "coded as none is": (change_header(coding={"bits": 3, "basis_bits": 8}), "damaged: bits must"),
    "bits as text": (change_header(coding={"bits": "4", "basis_bits": 8}), "damaged: bits must"),
    "half a coding": (change_header(coding={"basis_bits": 8}), "is damaged: .*'bits'"),
    "coding with more": (
        change_header(coding={"bits": 4, "basis_bits": 8, "color": 1}),
        "is damaged: .*'color'",
    ),
    "no coding": (change_header(coding=None), "is damaged"),
    "other bits": (change_header(coding={"bits": 8, "basis_bits": 8}), r"need codes \(rows, 3\)"),
    "bases said to be halves": (
        change_header(coding={"bits": 4, "basis_bits": 16}),
        r"is damaged: .*bases: torch\.uint8",
    ),
    "an old schema": (change_header(schema=1), r"should hold .*it holds \['coding'"),
    "other width": (change_header(columns=8), "disagree"),
    "other dimensions": (change_header(dimensions=[3, 3, 2]), "disagree"),
    "steps missing": (
        change_tensors(**{"coordinates.1.steps": None}),
        r"'coordinates\.1\.steps' is missing",
    ),
    "steps of a basis missing": (
        change_tensors(**{"basis.1.steps": None}),
        r"'basis\.1\.steps' is missing",
    ),
    "steps too many": (
        change_tensors(**{"coordinates.1.steps": torch.ones(1, 5)}),
        r"5 columns of 4 bits need codes \(rows, 3\)",
    ),
    "steps for rows": (change_tensors(**{"coordinates.1.steps": torch.ones(3, 3)}), "need steps"),
    "flat steps": (change_tensors(**{"coordinates.1.steps": torch.ones(3)}), "need steps"),
    "a lone step": (change_tensors(**{"coordinates.1.steps": torch.tensor(1.0)}), "is damaged"),
    "steps that are none": (
        change_tensors(**{"coordinates.1.steps": torch.full((1, 3), torch.nan)}),
        "steps must be finite",
    ),
    "codes as floats": (change_tensors(coordinates_1=torch.ones(3, 2)), r"in uint8, got"),
    "flat codes of a basis": (
        change_tensors(basis_1=torch.ones(21, dtype=torch.uint8)),
        r"need codes \(rows, 21\)",
    ),
    "a tensor too many": (change_tensors(extra=torch.ones(1)), "disagree"),
}


@pytest.mark.parametrize("name", CODED_DAMAGES)
def test_damage_to_coded_factors_is_said(name: str, tmp_path: Path) -> None:
    points = torch.randn(61, 7, generator=torch.Generator().manual_seed(3))
    engine.factorize(points, k=3, j=3, n_init=2, bits=4, basis_bits=8).save(tmp_path)
    Factorization.load(tmp_path)
    damage, message = CODED_DAMAGES[name]
    damage(tmp_path)
    with pytest.raises(FormatError, match=message):
        Factorization.load(tmp_path)


@given(
    rows=st.integers(1, 30),
    dimensions=st.lists(st.integers(0, 9), min_size=1, max_size=5),
    affine=st.booleans(),
    most_bits=st.integers(1, 10),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_a_coded_plan_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    dimensions: list[int],
    affine: bool,
    most_bits: int,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("plan")
    found = coded_plan(rows, 9, dimensions, affine=affine, most_bits=most_bits, seed=seed)
    found.save(folder)
    tensors = stored_tensors(folder)
    assert found.stored_bytes == sum(size for _, size in tensors.values())
    assert len(tensors) == (6 + affine) * found.k + (found.k > 1)
    header = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    assert found.coding is not None
    assert header["schema"] == 5
    loaded = Factorization.load(folder)
    assert torch.equal(loaded.labels, found.labels)
    assert torch.equal(loaded.reconstruct(), found.reconstruct())
    assert (loaded.coding, loaded.record) == (found.coding, found.record)
    assert loaded.stored_bytes == found.stored_bytes
    assert (loaded.parameters, loaded.rate) == (None, None)
    with pytest.raises(ParameterError, match="quantised already"):
        loaded.quantize(bits=8)


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("coded", [True, False])
def test_offsets_that_are_no_numbers_are_refused(
    coded: bool, number: float, tmp_path: Path
) -> None:
    points = torch.randn(20, 7, generator=torch.Generator().manual_seed(0))
    plan = coded_plan(20, 7, (3,), affine=True) if coded else None
    (plan or engine.factorize(points, k=1, j=2, affine=True)).save(tmp_path)
    Factorization.load(tmp_path)
    offset = torch.zeros(7, dtype=torch.float16 if coded else torch.float32)
    offset[3] = number
    change_tensors(**{"offset.0": offset})(tmp_path)
    with pytest.raises(FormatError, match="is damaged: offsets must be finite"):
        Factorization.load(tmp_path)


def test_long_rows_without_a_trellis_are_refused(tmp_path: Path) -> None:
    """They would be decoded to other rows."""
    coded_plan(5, 40, (40,), most_bits=4).save(tmp_path)
    header = json.loads((tmp_path / RECORD_FILE).read_text(encoding="utf-8"))
    for trellis in (True, False):
        header["coding"]["trellis"] = trellis
        (tmp_path / RECORD_FILE).write_text(json.dumps(header), encoding="utf-8")
        if trellis:  # as was written for a while
            Factorization.load(tmp_path)
    with pytest.raises(FormatError, match="trellis must say whether any row is of one, got False"):
        Factorization.load(tmp_path)


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=torch.uint8)


MIXED = {"row_bytes": [3, 0, 1], "basis_row_bytes": [4, 0, 1], "bits": [3, 5], "basis_bits": [2, 8]}
MIXED_DAMAGES: dict[str, tuple[Damage, str]] = {
    "levels evenly apart": (change_header(schema=3), "of a development version, whose levels"),
    "levels of single numbers": (change_header(schema=4), "of a development version, whose levels"),
    "a trellis in short rows": (change_header(coding=MIXED | {"trellis": True}), "got True"),
    "levels of no kind": (change_header(coding=MIXED | {"trellis": "no"}), "got 'no'"),
    "a coding that is a name": (change_header(coding="row_bytes"), "got 'row_bytes'"),
    "a coding that is a list": (change_header(coding=["row_bytes"]), r"got \['row_bytes'\]"),
    "of schema 2": (change_header(schema=2), "json and factorization.safetensors disagree"),
    "of an old schema": (change_header(schema=1), r"should hold .*it holds \['coding'"),
    "no coding": (change_header(coding=None), "is damaged"),
    "coded in another way": (
        change_header(coding={"bits": 8, "basis_bits": 8}),
        r"is damaged: 4 columns in groups of 4 need steps",
    ),
    "half a coding": (change_header(coding={"row_bytes": [3, 0, 1]}), "is damaged: .*'basis_row_"),
    "coding with more": (change_header(coding=MIXED | {"color": [1]}), "is damaged: .*'color'"),
    "bytes as text": (change_header(coding=MIXED | {"row_bytes": "301"}), "damaged: each subspace"),
    "other bytes": (change_header(coding=MIXED | {"row_bytes": [2, 0, 1]}), "disagree"),
    "other range of bits": (change_header(coding=MIXED | {"bits": [1, 12]}), "disagree"),
    "bits missing": (
        change_tensors(**{"coordinates.0.bits": None}),
        r"'coordinates\.0\.bits' is missing",
    ),
    "bits of a basis missing": (
        change_tensors(**{"basis.2.bits": None}),
        r"'basis\.2\.bits' is missing",
    ),
    "steps missing": (
        change_tensors(**{"coordinates.0.steps": None}),
        r"'coordinates\.0\.steps' is missing",
    ),
    "bits of 0": (
        change_tensors(**{"coordinates.0.bits": zeros(5)}),
        r"damaged: each column must have 1 … 12 bits, got 0 … 0",
    ),
    "bits as floats": (
        change_tensors(**{"coordinates.0.bits": torch.ones(5)}),
        r"damaged: codes and bits must be uint8",
    ),
    "bits too few": (
        change_tensors(**{"coordinates.0.bits": zeros(4) + 2}),
        r"damaged: codes and bits must be uint8, and one step a column",
    ),
    "bits that fill other bytes": (
        change_tensors(**{"coordinates.0.bits": zeros(5) + 10}),
        r"5 columns of 50 bits in all need codes \(rows, 7\)",
    ),
    "codes short": (
        change_tensors(**{"coordinates.0": zeros(61, 1)}),
        r"in all need codes \(rows, \d\), got \(61, 1\)",
    ),
    "codes of too few rows": (
        change_tensors(**{"basis.0": zeros(6, 4)}),
        "basis as wide as the others",
    ),
    "codes as floats": (
        change_tensors(**{"coordinates.0": torch.ones(61, 3)}),
        "codes and bits must be uint8",
    ),
    "steps of another dtype": (
        change_tensors(**{"coordinates.0.steps": torch.ones(5).half()}),
        r"all MixedMatrix, .* with steps in torch\.float16",
    ),
    "steps in double": (
        change_tensors(**{"coordinates.0.steps": torch.ones(5).double()}),
        "one step a column float32 or float16",
    ),
    "steps that are none": (
        change_tensors(**{"coordinates.0.steps": torch.full((5,), torch.nan)}),
        "steps must be finite",
    ),
    "steps of a basis in float32": (
        change_tensors(**{"basis.0.steps": torch.ones(5)}),
        r"bases: columns of their own bits, turned, with steps in torch\.float16, .*float32",
    ),
    "a tensor too many": (change_tensors(extra=torch.ones(1)), "disagree"),
}


@pytest.mark.parametrize("name", MIXED_DAMAGES)
def test_damage_to_a_coded_plan_is_said(name: str, tmp_path: Path) -> None:
    coded_plan(61, 7, (5, 0, 2), seed=1).save(tmp_path)
    Factorization.load(tmp_path)
    damage, message = MIXED_DAMAGES[name]
    damage(tmp_path)
    with pytest.raises(FormatError, match=message):
        Factorization.load(tmp_path)


@pytest.mark.parametrize("rows", [60, -1, 10**15])
def test_rows_of_a_single_subspace_are_those_of_its_coordinates(rows: int, tmp_path: Path) -> None:
    """No labels are stored for k = 1: a declared number of rows must not be allocated unseen."""
    fitted(1).save(tmp_path)
    change_header(rows=rows)(tmp_path)
    with pytest.raises(FormatError, match="disagree"):
        Factorization.load(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"holds no factorization .* give the folder that"):
        Factorization.load(tmp_path / "nowhere")


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_files_can_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        fitted(2).save(tmp_path / "new")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()}
    assert modes == {TENSOR_FILE: 0o644, RECORD_FILE: 0o644}
