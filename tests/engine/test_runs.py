"""The run store: whole runs or none, and never brought down by a damaged one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import folders
from engine.errors import Cancelled, EngineError, FormatError, ParameterError
from engine.runs import RunStore, check_run_target, find_run, read_run, write_run
from tests.engine.test_records import make_record


def write_arrays(folder: Path) -> None:
    (folder / "arrays.safetensors").write_bytes(b"12345678")
    (folder / "tables").mkdir()
    (folder / "tables" / "errors.csv").write_text("k,error\n5,0.13\n")


def write_nothing(folder: Path) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "home" / "runs")


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# Creating, listing, loading


def test_created_run_is_listed_and_loaded(store: RunStore) -> None:
    run = store.create(make_record(), write_arrays)
    assert run.folder == store.root / run.id
    assert (run.folder / "arrays.safetensors").read_bytes() == b"12345678"
    assert (run.folder / "tables" / "errors.csv").is_file()
    assert store.load(run.id) == run
    assert store.list().runs == (run,)
    assert store.list().damaged == ()


def test_runs_are_listed_newest_first(store: RunStore) -> None:
    runs = [store.create(make_record(name=str(number)), write_nothing) for number in range(4)]
    assert [run.record.name for run in store.list().runs] == ["3", "2", "1", "0"]
    assert [run.id for run in runs] == sorted(run.id for run in runs)


def test_age_is_what_the_record_says_not_the_folder(store: RunStore) -> None:
    new = store.create(make_record(name="new"), write_nothing)
    old = store.create(make_record(name="old", created="2020-01-01T00:00:00+00:00"), write_nothing)
    assert store.list().runs == (new, old)


def test_store_that_was_never_used_is_empty(store: RunStore) -> None:
    assert store.list().runs == ()
    assert not store.root.exists()


def test_root_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path))
    assert RunStore().root == tmp_path / "runs"
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", "")  # set but empty is not a folder
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert RunStore().root.parts[-2:] == ("subspace-atlas", "runs")


@pytest.mark.parametrize("error", [Cancelled("stop"), ValueError("bug"), KeyboardInterrupt("key")])
def test_interrupted_write_leaves_nothing(store: RunStore, error: BaseException) -> None:
    def write(folder: Path) -> None:
        write_arrays(folder)
        raise error

    with pytest.raises(type(error), match=str(error)):
        store.create(make_record(), write)
    assert list(store.root.iterdir()) == []


def test_run_is_not_seen_before_it_is_whole(store: RunStore) -> None:
    def write(folder: Path) -> None:
        assert store.list() == type(store.list())(runs=(), damaged=())
        assert folder.parent == store.root  # the same file system: a rename is one step

    store.create(make_record(), write)
    assert len(store.list().runs) == 1


def test_full_disk_is_an_error_for_the_user(store: RunStore) -> None:
    def write(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(EngineError, match=r"could not write the run .* No space left .* free some"):
        store.create(make_record(), write)
    assert list(store.root.iterdir()) == []


def test_root_that_is_a_file_is_an_error_for_the_user(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    store = RunStore(tmp_path / "runs")
    with pytest.raises(ParameterError, match="is no folder you may write to"):
        store.create(make_record(), write_nothing)
    with pytest.raises(EngineError, match=r"could not read the run store .* SUBSPACE_ATLAS_HOME"):
        store.list()


# Damage


def remove_record(folder: Path) -> None:
    (folder / "run.json").unlink()


def cut_record(folder: Path) -> None:
    path = folder / "run.json"
    path.write_bytes(path.read_bytes()[:40])


def write_bytes(folder: Path) -> None:
    (folder / "run.json").write_bytes(b"\xff\xfe\x00")


def make_record_a_folder(folder: Path) -> None:
    remove_record(folder)
    (folder / "run.json").mkdir()


def change_record(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (remove_record, "holds no run.json"),
        (cut_record, "expected JSON"),
        (write_bytes, "could not be read"),
        (make_record_a_folder, "could not be read"),
        (change_record(colour="red"), "unknown: colour"),
        (change_record(wall_seconds="long"), "wall_seconds must be a finite number"),
        (change_record(schema_version=99), "newer version"),
    ],
)
def test_damaged_run_is_reported_and_skipped(
    store: RunStore, damage: Callable[[Path], None], reason: str
) -> None:
    good = store.create(make_record(), write_arrays)
    bad = store.create(make_record(), write_arrays)
    damage(bad.folder)
    listing = store.list()
    assert listing.runs == (good,)
    assert [entry.folder for entry in listing.damaged] == [bad.folder]
    assert reason in listing.damaged[0].reason
    with pytest.raises(FormatError, match=reason):
        store.load(bad.id)
    store.delete(listing.damaged[0].id)
    assert store.list().damaged == ()


def test_link_to_nowhere_is_damage_and_can_be_deleted(store: RunStore, tmp_path: Path) -> None:
    good = store.create(make_record(), write_nothing)
    (store.root / "gone").symlink_to(tmp_path / "gone")
    listing = store.list()
    assert listing.runs == (good,)
    assert [entry.id for entry in listing.damaged] == ["gone"]
    store.delete("gone")
    assert store.list().damaged == ()


def test_stray_files_are_no_runs(store: RunStore) -> None:
    run = store.create(make_record(), write_nothing)
    (store.root / ".DS_Store").touch()
    (store.root / "notes.txt").touch()
    assert store.list().runs == (run,)
    assert store.list().damaged == ()


# Deleting, and names that are not names


def test_deleted_run_is_gone_and_the_others_stay(store: RunStore) -> None:
    first, second = (store.create(make_record(), write_arrays) for _ in range(2))
    store.delete(first.id)
    assert store.list().runs == (second,)
    assert list(store.root.iterdir()) == [second.folder]


def test_deleting_a_link_keeps_what_it_points_at(store: RunStore, tmp_path: Path) -> None:
    write_run(tmp_path / "elsewhere", make_record(), write_arrays)
    store.root.mkdir(parents=True)
    (store.root / "linked").symlink_to(tmp_path / "elsewhere")
    assert [run.id for run in store.list().runs] == ["linked"]
    assert store.load("linked").id == "linked"
    store.delete("linked")
    assert (tmp_path / "elsewhere" / "arrays.safetensors").is_file()
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", "../other", "a/b", "/etc", ".tmp-run-x", "a\\b", "a\0b", "a/"]
)
def test_only_plain_names_are_ids(store: RunStore, tmp_path: Path, run_id: str) -> None:
    (tmp_path / "home" / "other").mkdir(parents=True)
    store.create(make_record(), write_nothing)
    for act in (store.load, store.delete):
        with pytest.raises(ParameterError, match="a run id is the plain name of a folder"):
            act(run_id)
    assert (tmp_path / "home" / "other").is_dir()
    assert len(store.list().runs) == 1


def test_unknown_id_says_what_to_do(store: RunStore) -> None:
    for act in (store.load, store.delete):
        with pytest.raises(ParameterError, match=r"no run 'x' .* Take one from the list"):
            act("x")


# What killed processes leave


def test_a_run_is_found_by_its_folder_or_its_id(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(store.root.parent))
    run = store.create(make_record(), write_nothing)
    assert find_run(run.id) == find_run(run.folder) == find_run(str(run.folder)) == run.folder
    for name in ("nothing", f"../runs/{run.id}", run.folder / "run.json"):
        with pytest.raises(ParameterError, match=r"neither a folder .* nor an id in .*runs;"):
            find_run(name)


def test_leftovers_of_dead_processes_are_swept(store: RunStore) -> None:
    store.create(make_record(), write_nothing)
    dead = store.root / f".tmp-run-{folders._host()}-{dead_pid()}-00000000"
    alive = store.root / f".tmp-run-{folders._host()}-{os.getpid()}-00000000"
    old = store.root / f".tmp-run-{folders._host()}-{os.getpid()}-00000001"
    elsewhere = store.root / f".tmp-run-ffffffff-{dead_pid()}-00000000"
    foreign = store.root / ".tmp-mine"
    for folder in (dead, alive, old, elsewhere, foreign):
        write_run(folder, make_record(), write_arrays)
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))
    os.utime(foreign, (two_days_ago, two_days_ago))
    store.create(make_record(), write_nothing)
    assert not dead.exists()
    assert not old.exists()
    # Only the same machine can tell that a process is dead, and only our own names are ours.
    assert alive.is_dir()
    assert elsewhere.is_dir()
    assert foreign.is_dir()
    assert store.list().damaged == ()


def test_process_killed_while_writing_leaves_no_run(store: RunStore) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from engine.runs import RunStore\n"
        "from tests.engine.test_records import make_record\n"
        "RunStore(Path(sys.argv[1])).create(\n"
        "    make_record(), lambda folder: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    command = [sys.executable, "-c", script, str(store.root)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    assert len(list(store.root.iterdir())) == 1
    assert store.list() == type(store.list())(runs=(), damaged=())
    run = store.create(make_record(), write_nothing)
    assert list(store.root.iterdir()) == [run.folder]


# Runs outside the store


def test_run_written_anywhere_is_read_there(tmp_path: Path) -> None:
    run = write_run(tmp_path / "new" / "out", make_record(), write_arrays)
    assert run.id == "out"
    assert read_run(tmp_path / "new" / "out") == run
    assert list((tmp_path / "new").iterdir()) == [run.folder]


def test_empty_folder_and_older_run_are_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    write_run(target, make_record(name="first"), write_arrays)
    write_run(target, make_record(name="second"), write_nothing)
    assert read_run(target).record.name == "second"
    assert [path.name for path in target.iterdir()] == ["run.json"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_run_that_took_its_time_to_be_written_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_mode = Path.chmod

    def slowly(path: Path, mode: int) -> None:
        time.sleep(0.02)  # several ticks of the clock that files are dated by
        change_mode(path, mode)

    monkeypatch.setattr(Path, "chmod", slowly)
    write_run(tmp_path / "out", make_record(), write_arrays)
    time.sleep(0.02)
    check_run_target(tmp_path / "out")
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ParameterError, match=r"mine\.txt came into it"):
        check_run_target(tmp_path / "out")


def test_older_run_stays_when_the_new_one_is_cancelled(tmp_path: Path) -> None:
    def cancel(folder: Path) -> None:
        raise Cancelled("stop")

    older = write_run(tmp_path / "out", make_record(name="first"), write_arrays)
    with pytest.raises(Cancelled, match="stop"):
        write_run(tmp_path / "out", make_record(name="second"), cancel)
    assert read_run(tmp_path / "out") == older
    assert (tmp_path / "out" / "arrays.safetensors").is_file()
    assert list(tmp_path.iterdir()) == [older.folder]


def test_older_run_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = write_run(tmp_path / "out", make_record(name="first"), write_arrays)
    rename, failed = Path.rename, False

    def fail_once(source: Path, target: Path) -> Path:
        nonlocal failed
        if target == older.folder and not failed:
            failed = True
            raise OSError(5, "Input/output error")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(EngineError, match="could not write the run"):
        write_run(tmp_path / "out", make_record(name="second"), write_nothing)
    assert failed
    assert read_run(tmp_path / "out") == older
    assert list(tmp_path.iterdir()) == [older.folder]


def test_folder_of_something_else_is_kept_unless_told(tmp_path: Path) -> None:
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter.tex").touch()
    for act in (check_run_target, lambda to: write_run(to, make_record(), write_nothing)):
        with pytest.raises(ParameterError, match=r"thesis holds files and is not a run"):
            act(target)
    assert (target / "chapter.tex").is_file()
    check_run_target(target, overwrite=True)
    write_run(target, make_record(), write_nothing, overwrite=True)
    assert [path.name for path in target.iterdir()] == ["run.json"]


def test_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    for target in (tmp_path / "model.bin", tmp_path / "model.bin" / "new" / "out"):
        with pytest.raises(ParameterError, match=r"model\.bin is no folder you may write to"):
            write_run(target, make_record(), write_nothing, overwrite=True)


def test_place_without_permission_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Asked for by name: the tests may run as root, whom no permission stops.
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)
    with pytest.raises(ParameterError, match="is no folder you may write to"):
        check_run_target(tmp_path / "new" / "out")


def test_store_behind_a_link_gives_the_names_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = RunStore(tmp_path / "link")
    run = store.create(make_record(), write_nothing)
    assert store.list().runs == (run,)


@pytest.mark.parametrize("target", [".", ".."])
def test_working_directory_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    with pytest.raises(ParameterError, match="holds your working or home directory"):
        write_run(Path(target), make_record(), write_nothing, overwrite=True)
    assert (tmp_path / "inner").is_dir()


def test_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_run(tmp_path / "link", make_record(), write_nothing)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "run.json").is_file()


def test_reading_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"found no folder at .*nowhere; check the path"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(FormatError, match=r"is not a run: it holds no run\.json"):
        read_run(tmp_path)
