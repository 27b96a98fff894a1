"""Runs as zip files: out of one store and into another, and nothing hostile gets in."""

from __future__ import annotations

import io
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZipFile, ZipInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import exchange
from engine.compression import CompressionConfig, compress_table
from engine.errors import EngineError, FormatError, ParameterError
from engine.exchange import export_runs, import_runs
from engine.labels import RunLabel
from engine.recording import FileWriter, record_compression, record_sweep
from engine.runs import Run, RunStore
from engine.sweep import SweepConfig, run_sweep
from tests.engine.tables import gaussian, make_table
from tests.engine.test_records import make_record

TABLE = make_table(gaussian(40, 6))
CONFIG = CompressionConfig(k=2, j=2, n_init=1, neighbours=0)
PLAN, write_factors = record_compression(TABLE, CONFIG, compress_table(TABLE, CONFIG))
SWEEP, write_sweep = record_sweep(
    TABLE, run_sweep(TABLE, SweepConfig(rates=(0.3,), ks=(2,), seeds=(0,)))
)


def written(write: FileWriter) -> dict[str, bytes]:
    """The files of a run."""
    with TemporaryDirectory() as folder:
        write(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


FILES = written(write_factors)
FACTORS = FILES["factorization.safetensors"]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "here" / "runs")


@pytest.fixture
def other(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "there" / "runs")


def make_runs(store: RunStore) -> list[Run]:
    """A compression with a name, a sweep, and checks."""
    plan = store.create(replace(PLAN, name="plan"), write_factors)
    plan = store.label(plan.id, RunLabel(name="my plan", note="two\nlines"))
    sweep = store.create(replace(SWEEP, name="sweep"), write_sweep)
    checks = store.create(make_record(name="checks", kind="evaluate"), lambda _: None)
    return [plan, sweep, checks]


def export(store: RunStore, *runs: Run) -> io.BytesIO:
    packed = io.BytesIO()
    export_runs(store, [run.id for run in runs], packed)
    return packed


def files_of(store: RunStore) -> dict[str, bytes]:
    return {
        path.relative_to(store.root).as_posix(): path.read_bytes()
        for path in store.root.rglob("*")
        if path.is_file()
    }


def test_runs_come_back_byte_for_byte_with_their_labels(store: RunStore, other: RunStore) -> None:
    runs = make_runs(store)
    found = import_runs(other, export(store, *runs))
    assert [run.id for run in found.added] == [run.id for run in runs]
    assert found.present == ()
    assert [run.record for run in found.added] == [run.record for run in runs]
    assert other.load(runs[0].id).label == RunLabel(name="my plan", note="two\nlines")
    assert files_of(other) == files_of(store)


def test_only_files_of_a_run_are_packed(store: RunStore) -> None:
    run = make_runs(store)[0]
    (run.folder / "secret.txt").write_text("mine")
    names = ZipFile(export(store, run)).namelist()
    kept = ["run.json", "label.json", "factorization.json", "factorization.safetensors"]
    assert names == [f"{run.id}/{name}" for name in kept]


def test_the_very_same_run_is_left_alone(store: RunStore, other: RunStore) -> None:
    plan, sweep, _ = make_runs(store)
    import_runs(other, export(store, plan))
    other.label(plan.id, RunLabel(name="renamed there"))
    found = import_runs(other, export(store, plan, sweep))
    assert [run.id for run in found.added] == [sweep.id]
    assert found.present == (plan.id,)
    assert other.load(plan.id).label.name == "renamed there"


def test_another_run_under_the_same_id_is_refused_and_nothing_is_added(
    store: RunStore, other: RunStore
) -> None:
    plan, sweep, _ = make_runs(store)
    other.create(make_record(name="another"), write_factors).folder.rename(other.root / sweep.id)
    before = files_of(other)
    with pytest.raises(ParameterError, match=r"another run is already named .* delete that first"):
        import_runs(other, export(store, plan, sweep))
    assert files_of(other) == before


def test_a_run_that_is_not_there_or_not_whole_is_not_packed(store: RunStore) -> None:
    plan = make_runs(store)[0]
    (plan.folder / "factorization.json").unlink()
    with pytest.raises(FormatError, match=r"'plan' lacks factorization\.json: it is damaged"):
        export(store, plan)
    store.delete(plan.id)
    with pytest.raises(ParameterError, match="there is no run"):
        export(store, plan)
    with pytest.raises(ParameterError, match="needs at least one run"):
        export(store)


RECORD = PLAN.to_json()


def pack(*entries: tuple[str | ZipInfo, str | bytes], compression: int = 0) -> io.BytesIO:
    """A zip file of a whole run, and what else there is to be in it."""
    packed = io.BytesIO()
    whole: dict[str, str | bytes] = {
        "id/run.json": RECORD,
        **{f"id/{name}": content for name, content in FILES.items()},
    }
    with ZipFile(packed, "w", compression) as file:
        for name, content in (*whole.items(), *entries):
            file.writestr(name, content)
    return packed


def link(name: str) -> ZipInfo:
    info = ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def test_what_is_packed_by_hand_is_taken(other: RunStore) -> None:
    folder = ZipInfo("id/")
    assert len(import_runs(other, pack((folder, ""), compression=ZIP_DEFLATED)).added) == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("../run.json", r"holds '\.\./run\.json'"),
        ("../../evil/run.json", "no zip file of runs"),
        ("/etc/run.json", "no zip file of runs"),
        ("C:\\x/run.json", "no zip file of runs"),
        ("id/../run.json", "no zip file of runs"),
        ("id/sub/run.json", "no zip file of runs"),
        ("id/evil.py", r"holds 'id/evil\.py'"),
        ("id/factorization.pkl", "no zip file of runs"),
        (".hidden/run.json", "no zip file of runs"),
        ("run.json", "no zip file of runs"),
        ("other\n/run.json", "no zip file of runs"),
        ("x" * 300 + "/run.json", "no zip file of runs"),
        (link("id/label.json"), "is a link"),
        ("id/sweep.json", r"has no use for sweep\.json"),
        ("id/label.json", "the name or note of id is damaged"),
        ("other/run.json", "expected JSON"),
        ("other/factorization.json", r"other is not a run: it holds no run\.json"),
    ],
)
def test_anything_but_whole_runs_is_refused(
    tmp_path: Path, other: RunStore, entry: str | ZipInfo, message: str
) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        import_runs(other, pack((entry, "x")))
    assert str(tmp_path) not in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_entry_that_comes_twice_is_refused(other: RunStore) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        packed = pack(("id/run.json", RECORD))
    with pytest.raises(FormatError, match="no zip file of runs"):
        import_runs(other, packed)


def test_another_packing_and_encryption_are_refused(other: RunStore) -> None:
    with pytest.raises(FormatError, match="packed in a way that is not read here"):
        import_runs(other, pack(compression=ZIP_BZIP2))
    content = bytearray(pack().getvalue())
    content[content.index(b"PK\1\2") + 8] |= 1  # the flag of encryption, in the directory
    with pytest.raises(FormatError, match="is encrypted"):
        import_runs(other, io.BytesIO(content))


def test_bombs_are_refused_before_they_unpack(
    other: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = pack(("b/factorization.safetensors", bytes(10**7)), compression=ZIP_DEFLATED)
    with pytest.raises(ParameterError, match="100 times the file"):
        import_runs(other, zeros)
    assert not other.root.exists()
    monkeypatch.setattr(exchange, "MOST_BYTES", 500)
    with pytest.raises(ParameterError, match="may take 500 bytes unpacked"):
        import_runs(other, pack())
    monkeypatch.setattr(exchange, "_MOST_TEXT", 100)
    with pytest.raises(ParameterError, match=r"'id/run\.json' may take 100 bytes"):
        import_runs(other, pack())
    monkeypatch.undo()
    monkeypatch.setattr(exchange, "MOST_RUNS", 1)
    with pytest.raises(ParameterError, match="may hold 1 runs, this one holds 2"):
        import_runs(other, pack(("b/run.json", RECORD)))


def test_a_file_that_would_fill_the_disk_is_refused_before_it_unpacks(
    other: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(other.root.parent.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=512 * 1024**2 + 100))
    with pytest.raises(EngineError, match=r"bytes unpacked, .* has 536,871,012\. Free some space"):
        import_runs(other, pack())
    assert not other.root.exists()


def test_a_plan_whose_figures_cannot_be_shown_is_refused(other: RunStore) -> None:
    svd = {**PLAN.figures["svd"], "dimensions": []}
    record = replace(PLAN, figures={**PLAN.figures, "svd": svd}).to_json()
    with pytest.raises(FormatError, match=r"svd\.dimensions must be a list of at least 1"):
        import_runs(other, pack(("b/run.json", record), *((f"b/{n}", c) for n, c in FILES.items())))
    assert files_of(other) == {}


OTHER = CompressionConfig(k=2, j=3, n_init=1, neighbours=0)
DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "cut": ("factorization.safetensors", lambda content: content[:100], "cannot be read"),
    "cut header": ("factorization.json", lambda content: content[:100], "cannot be read"),
    "empty header": ("factorization.json", lambda _: b"{}", "is not a factorization"),
    "swapped": (
        "factorization.safetensors",
        lambda _: other_factors()["factorization.safetensors"],
        "disagree",
    ),
    "cut sweep": ("sweep.json", lambda content: content[:100], "is not a sweep"),
    "swapped sweep": (
        "sweep.json",
        lambda content: content.replace(TABLE.fingerprint.encode(), b"another"),
        "of another run: its record says fingerprint",
    ),
}


def other_factors() -> dict[str, bytes]:
    return written(record_compression(TABLE, OTHER, compress_table(TABLE, OTHER))[1])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_whose_files_cannot_be_read_is_refused_with_all_others(
    store: RunStore, other: RunStore, damage: str
) -> None:
    file, change, message = DAMAGES[damage]
    runs = make_runs(store)
    (path,) = store.root.glob(f"*/{file}")
    path.write_bytes(change(path.read_bytes()))
    packed = export(store, *runs[::-1])
    with pytest.raises(FormatError, match=f"damaged, and nothing was imported: .*{message}") as e:
        import_runs(other, packed)
    assert path.parent.name in str(e.value)
    assert str(other.root) not in str(e.value)
    assert files_of(other) == {}


def test_the_whole_plan_of_another_run_is_refused(store: RunStore, other: RunStore) -> None:
    plan = make_runs(store)[0]
    for name, content in other_factors().items():
        (plan.folder / name).write_bytes(content)
    said = r"holds a factorization of another run: its record says dimensions \[2, 2\], .* \[3, 3\]"
    with pytest.raises(FormatError, match=said):
        import_runs(other, export(store, plan))
    assert files_of(other) == {}


def test_an_entry_gives_no_more_than_it_says(other: RunStore) -> None:
    """A directory that understates a size, so that what is counted is not what is unpacked."""
    content = bytearray(pack().getvalue())
    place = content.rindex(b"PK\1\2")  # of the factors, the last entry
    content[place + 24 : place + 28] = (10).to_bytes(4, "little")
    with pytest.raises(FormatError, match="no zip file, or a damaged one"):
        import_runs(other, io.BytesIO(content))
    assert files_of(other) == {}


def test_a_file_that_is_no_zip_is_told(tmp_path: Path, other: RunStore) -> None:
    path = tmp_path / "runs.zip"
    path.write_bytes(b"not a zip")
    with pytest.raises(FormatError, match="no zip file, or a damaged one"):
        import_runs(other, path)
    with ZipFile(path, "w"):
        pass
    with pytest.raises(FormatError, match="holds no run"):
        import_runs(other, path)
    with pytest.raises(EngineError, match="could not be unpacked"):
        import_runs(other, tmp_path / "nowhere.zip")


@given(st.data())
def test_any_damage_is_told_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(pack(compression=data.draw(st.sampled_from([0, ZIP_DEFLATED]))).getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 40))
    folder = tmp_path_factory.mktemp("damage")
    store = RunStore(folder / "runs")
    try:
        import_runs(store, io.BytesIO(content[: len(content) - cut]))
    except EngineError:
        assert [path for path in folder.rglob("*") if path.is_file()] == []
    else:
        (run,) = store.list().runs
        assert (run.folder / "factorization.safetensors").read_bytes() == FACTORS


@pytest.mark.parametrize(
    "fail", [OSError(28, "No space left on device"), KeyboardInterrupt("stopped")]
)
def test_a_full_disk_or_an_interrupt_leaves_nothing(
    store: RunStore, other: RunStore, monkeypatch: pytest.MonkeyPatch, fail: BaseException
) -> None:
    packed = export(store, *make_runs(store))
    rename: Callable[..., Path] = Path.rename
    done: list[Path] = []

    def fail_third(self: Path, target: Path) -> Path:
        if target.parent == other.root and not target.name.startswith("."):
            done.append(target)
            if len(done) == 3:
                raise fail
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_third)
    expected = EngineError if isinstance(fail, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match=str(fail.args[-1])):
        import_runs(other, packed)
    monkeypatch.undo()
    assert list(other.root.iterdir()) == []
