"""What a file says it holds, checked before a byte is allocated for it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from engine.errors import ShapeError, SourceError
from engine.memory import free_bytes

FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")
_FLOAT32_BYTES = 4
_MEMORY_SHARE = 0.8  # of what is free now: the work that follows needs room too
_COMFORTABLE_SHARE = 0.1  # a table above it would crowd out the work on it, which copies parts
_HALF_DTYPES = ("float16", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The header of one stored array.

    Attributes:
        name: What messages call it ("table.npz, array “weight”").
        shape: Its length along each axis.
        dtype: Its dtype by name ("float16"), or the file format's own word for an unknown one.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_table(self) -> bool:
        """Whether it could be an embedding table: two axes of floating-point numbers."""
        return len(self.shape) == 2 and self.dtype in FLOAT_DTYPES

    def check_table(self) -> None:
        """Refuse what cannot be an embedding table.

        Raises:
            ShapeError: If it has not two axes, or one of them is empty.
            SourceError: If it does not hold floating-point numbers.
        """
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise ShapeError(
                f"{self.name}: an embedding table needs shape (rows, columns), both at least 1, "
                f"got {self.shape}; save the one matrix that holds a row for each token"
            )
        if self.dtype not in FLOAT_DTYPES:
            raise SourceError(
                f"{self.name}: expected floating-point numbers ({', '.join(FLOAT_DTYPES)}), "
                f"got {self.dtype}; convert it to float32 first, and if it is quantised, "
                "dequantise it"
            )

    def stays_on_disk(self, mapped: bool | None) -> bool:
        """Whether a table that is not float32 in one piece is mapped as it is stored.

        Args:
            mapped: What the user asked for; None decides by size: above a tenth of the memory that
                is free now, in float32.

        Returns:
            Never true of float64, which is computed with in float32.
        """
        if self.dtype not in (*_HALF_DTYPES, "float32") or mapped is not None:
            return bool(mapped) and self.dtype != "float64"
        return self.float32_bytes > _COMFORTABLE_SHARE * free_bytes()

    @property
    def float32_bytes(self) -> int:
        """Bytes of the array in float32."""
        return prod(self.shape) * _FLOAT32_BYTES

    def check_memory(self) -> None:
        """Refuse a matrix that does not fit into the memory that is free now.

        Raises:
            SourceError: If the matrix in float32 needs more than four fifths of it.
        """
        rows, columns = self.shape
        needed = self.float32_bytes
        free = free_bytes()
        if needed > _MEMORY_SHARE * free:
            raise SourceError(
                f"{self.name}: {rows:,} × {columns:,} numbers need {needed / 1e9:,.1f} GB in "
                f"float32, and only {free / 1e9:,.1f} GB of memory are free; close other programs, "
                "keep fewer rows, or save it as a float16 or float32 .npy file, which stays on disk"
            )

    def describe(self) -> str:
        """Short form for a list of choices: “float16 (30,522 × 384)”."""
        return f"{self.dtype} ({' × '.join(f'{length:,}' for length in self.shape)})"


def choose_table(
    arrays: dict[str, Declared], *, wanted: str | None, file_name: str, kind: str
) -> str:
    """Pick the array of a file that holds several.

    Args:
        arrays: Each array's header, by its name in the file.
        wanted: The name the user gave, or None to take the only one that can be a table.
        file_name: What messages call the file.
        kind: What the format calls an array ("tensor").

    Returns:
        The name of the chosen array.

    Raises:
        SourceError: If the file holds nothing, has no array of that name, or the choice is open.
        ShapeError: If the chosen array is no (rows, columns) matrix.
    """
    if not arrays:
        raise SourceError(
            f"{file_name}: expected at least one {kind}, but the file holds none; "
            "save the matrix in it, or give another file"
        )
    candidates = [name for name, header in arrays.items() if header.is_table]
    if wanted is None and len(arrays) == 1:
        wanted = next(iter(arrays))
    if wanted is None and len(candidates) == 1:
        wanted = candidates[0]
    if wanted is None:
        raise SourceError(
            f"{file_name}: expected exactly one {kind} with two axes of floating-point numbers, "
            f"found {len(candidates)}; give the name of one: {_list_arrays(arrays)}"
        )
    if wanted not in arrays:
        raise SourceError(
            f"{file_name} has no {kind} named {wanted!r}; choose one of: {_list_arrays(arrays)}"
        )
    arrays[wanted].check_table()
    return wanted


_MOST_LISTED = 12  # a 7B model holds hundreds of tensors; a message stays readable


def _list_arrays(arrays: dict[str, Declared]) -> str:
    # what can be chosen comes first, so that a long list cuts off only what cannot
    ordered = sorted(arrays.items(), key=lambda item: not item[1].is_table)
    listed = [f"{name} {header.describe()}" for name, header in ordered[:_MOST_LISTED]]
    if len(ordered) > _MOST_LISTED:
        listed.append(f"and {len(ordered) - _MOST_LISTED:,} more")
    return ", ".join(listed)
