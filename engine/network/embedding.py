"""k small layers in place of one embedding: `SubspaceEmbedding`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from engine.coding.codes import CodedMatrix
from engine.coding.packing import bits_for, pack_integers, unpack_integers
from engine.errors import FormatError, ShapeError
from engine.factorization import Factorization
from engine.network.shape import LayerShape
from engine.network.small_layer import SmallLayer
from engine.rows import BLOCK_ROWS


class SubspaceEmbedding(nn.Module):
    """An embedding layer held as k subspaces: a drop-in for `torch.nn.Embedding`.

    Token i of subspace c is ``coordinates_c[place] @ bases_c (+ offsets_c)``: k small layers side
    by side, recombined by one layer that holds all bases (the paper's step 4; a token uses one of
    them). The rows lie subspace by subspace, so a batch is looked up subspace by subspace, each
    distinct token once.

    Parameters and buffers, also their keys in a file:

    - ``weight``: all coordinates flat, subspace by subspace, Σ n_c·j_c. One axis on purpose: a
      loader that does not know this layer stops at the shape, instead of leaving it random.
    - ``bases``: shape (Σ j_c, d).
    - ``offsets``: shape (k, d), where subspaces are affine.
    - ``labels``: each row's subspace, packed at ⌈log2 k⌉ bits; absent for k = 1.
    - With quantised factors, ``weight`` is uint8 (`engine.coding.codes`), ``steps`` has shape
      (Σ j_c,), ``bases`` holds the bits of float16 as int16, or uint8 with ``basis_steps``. Nothing
      but the steps is a float, so a change of dtype leaves the codes alone. They are not trained.

    In memory there are also ``positions``, 4 bytes a row: where each row lies.

    Attributes:
        shape: Sizes of the layers.
        num_embeddings: n.
        embedding_dim: d.
        padding_idx: A row that gets no gradient, as in `torch.nn.Embedding`.
        scale: What the looked-up rows are multiplied with. A number is applied as it is, a tensor
            after it was rounded to the layer's dtype: model families differ in that.

    Source: Maalouf, Lang, Rus, Feldman, *Deep Learning Meets Projective Clustering*, ICLR 2021.
    """

    weight: Tensor
    bases: Tensor
    offsets: Tensor | None
    labels: Tensor | None
    steps: Tensor | None
    basis_steps: Tensor | None
    positions: Tensor

    def __init__(
        self,
        factorization: Factorization,
        *,
        padding_idx: int | None = None,
        scale: float | Tensor | None = None,
    ) -> None:
        """Make the layer of a factorization; its numbers are copied.

        Args:
            factorization: Of the layer's weight, quantised or not.
            padding_idx: A row that gets no gradient, 0 … n−1, or counted from the end.
            scale: See the class.

        Raises:
            ShapeError: If ``padding_idx`` is no row.
        """
        super().__init__()
        self._declare(LayerShape.of(factorization), padding_idx, scale)
        with torch.no_grad():
            for name, value in _stored(factorization).items():
                trained = isinstance(getattr(self, name), nn.Parameter)
                setattr(self, name, nn.Parameter(value) if trained else value)
        self.refresh_positions()

    @classmethod
    def empty(
        cls,
        shape: LayerShape,
        *,
        padding_idx: int | None = None,
        scale: float | Tensor | None = None,
    ) -> SubspaceEmbedding:
        """A layer of these sizes with undefined numbers, for a file to fill.

        Call `refresh_positions` once its labels are there.

        Raises:
            ShapeError: If ``padding_idx`` is no row.
        """
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._declare(shape, padding_idx, scale)
        return layer

    def _declare(
        self, shape: LayerShape, padding_idx: int | None, scale: float | Tensor | None
    ) -> None:
        n = shape.rows
        if padding_idx is not None and not -n <= padding_idx < n:
            raise ShapeError(f"padding_idx must name one of {n:,} rows, got {padding_idx}")
        self.shape, self.num_embeddings, self.embedding_dim = shape, n, shape.columns
        self.padding_idx = None if padding_idx is None else padding_idx % n
        self.scale = scale
        self._starts = shape.starts
        self._cuts = torch.tensor(shape.starts, dtype=torch.int32, device="cpu")
        trained = shape.coding is None
        for name, value in _empty_tensors(shape).items():
            if value is None:
                setattr(self, name, None)  # not a buffer of None: torch.export miscounts those
            elif trained and value.is_floating_point():
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        positions = torch.empty(shape.rows, dtype=torch.int32)
        self.register_buffer("positions", positions, persistent=False)

    def refresh_positions(self) -> None:
        """Work out where each row lies from the labels; needed after they were changed by hand.

        Raises:
            FormatError: If the labels give a subspace another number of rows than it has.
        """
        device = self.weight.device
        if device.type == "meta":
            return
        order = torch.arange(self.num_embeddings, dtype=torch.int32)
        if self.labels is not None:
            labels = unpack_integers(self.labels, bits_for(self.shape.k), self.num_embeddings)
            sizes = tuple(labels.bincount(minlength=self.shape.k).tolist())
            if sizes != self.shape.sizes:
                raise FormatError(
                    f"the labels put {sizes} rows into the subspaces, which hold "
                    f"{self.shape.sizes}; they are another layer's, or the file is damaged"
                )
            order = torch.empty_like(order).index_copy_(0, labels.argsort(stable=True), order)
        self.positions = order.to(device)

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - torch's
        super()._load_from_state_dict(*args, **options)
        self.refresh_positions()

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of what comes out."""
        return self.bases.dtype if self.steps is None else self.steps.dtype

    def forward(self, input_ids: Tensor) -> Tensor:
        """Look tokens up.

        Args:
            input_ids: Row numbers, any shape, int64 or int32, each in 0 … n−1.

        Returns:
            Shape (…, d) for ids of shape (…), in the layer's dtype.

        Raises:
            IndexError: If a row number is out of range.

        Cost: Σ 2·m_c·j_c·d flops for m_c distinct tokens of subspace c.
        """
        return scale_rows(self.look_up(input_ids, self.padding_idx), self.scale)

    def look_up(self, input_ids: Tensor, padding_idx: int | None = None) -> Tensor:
        """As `forward`, but without the scale, and with a padding row of choice."""
        if not torch.compiler.is_compiling() and not input_ids.numel():
            none = self.bases[:0] if self.steps is None else self.steps.new_empty(0)
            return none.view(*input_ids.shape, self.embedding_dim)  # gradients may flow, to nothing
        places = self.positions.index_select(0, input_ids.reshape(-1))
        if torch.compiler.is_exporting():
            places = places.long()  # onnxruntime knows no other whole numbers for this
        distinct, inverse = torch.unique(places, return_inverse=True)  # sorted: by subspace
        with _without_autocast(self.weight.device.type):
            rows = self._rows(distinct)
        if padding_idx is not None and rows.requires_grad:
            padded = (distinct == self.positions[padding_idx]).unsqueeze(1)
            rows = torch.where(padded, rows.detach(), rows)
        return rows.index_select(0, inverse).view(*input_ids.shape, self.embedding_dim)

    def logits(self, hidden: Tensor) -> Tensor:
        """Products with every row, hidden·Âᵀ, through the factors: the head tied to this layer.

        Args:
            hidden: Shape (…, d).

        Returns:
            Shape (…, n).

        Cost: 2·m·(d·Σ j_c + Σ n_c·j_c) flops for m vectors.
        """
        pieces = [part for layer in self._layers() for part in layer.products(hidden)]
        grouped = torch.cat(pieces, dim=-1)
        return grouped if self.labels is None else grouped.index_select(-1, self.positions)

    def to_dense(self) -> Tensor:
        """All rows, without the scale: shape (n, d), the layer's dtype, no gradient."""
        with torch.no_grad():
            ids = torch.arange(self.num_embeddings, device=self.weight.device)
            return torch.cat([self.look_up(part) for part in ids.split(BLOCK_ROWS)])

    def _rows(self, places: Tensor) -> Tensor:
        """Rows at sorted places, which lie subspace by subspace."""
        layers, starts = self._layers(), self._starts
        if torch.compiler.is_compiling():  # there shapes may depend on data, Python's numbers not
            inside = [(places >= start) & (places < end) for start, end in pairwise(starts)]
            owned = [places[mask] - start for mask, start in zip(inside, starts, strict=False)]
            return torch.cat([layer.rows(own) for layer, own in zip(layers, owned, strict=True)])
        cuts = torch.searchsorted(places, self._cuts.to(places.device)).tolist()
        owned = [
            (layer, places[first:end] - start)
            for layer, start, (first, end) in zip(layers, starts, pairwise(cuts), strict=False)
            if end > first
        ]
        # Not self.parameters(): a replica of DataParallel has none.
        parts = (self.weight, self.bases, self.offsets)
        if torch.is_grad_enabled() and any(
            part is not None and part.requires_grad for part in parts
        ):
            return torch.cat([layer.rows(own) for layer, own in owned])
        # Written in place: torch.cat would copy them all. Shapes, since len() of a tensor is slow.
        m, device = places.shape[0], places.device
        rows = torch.empty(m, self.embedding_dim, dtype=self.dtype, device=device)
        done = 0
        for layer, own in owned:
            end = done + own.shape[0]
            layer.rows(own, out=rows[done:end])
            done = end
        return rows

    def _layers(self) -> list[SmallLayer]:
        """The k small layers, as views."""
        shape = self.shape
        nothing = [None] * shape.k
        # Split, not sliced: the gradients of all parts then make one tensor, not k of full size.
        parts = zip(
            self.weight.split(shape.block_lengths),
            shape.widths,
            self.bases.split(shape.dimensions),
            nothing if self.offsets is None else self.offsets.unbind(),
            nothing if self.steps is None else self.steps.split(shape.dimensions),
            nothing if self.basis_steps is None else self.basis_steps.split(shape.dimensions),
            strict=True,
        )
        bits = None if shape.coding is None else shape.coding.bits
        return [
            SmallLayer(
                block=block.view(size, width),
                basis=basis,
                offset=offset,
                bits=bits,
                steps=steps,
                basis_steps=basis_steps,
            )
            for size, (block, width, basis, offset, steps, basis_steps) in zip(
                shape.sizes, parts, strict=True
            )
        ]

    def extra_repr(self) -> str:
        """The sizes, as `torch.nn.Embedding` prints them, and what is special here."""
        shape = self.shape
        parts = [f"{shape.rows}, {shape.columns}", f"k={shape.k}", f"j={shape.dimensions}"]
        parts += ["affine"] if shape.affine else []
        parts += [] if shape.coding is None else [f"bits={shape.coding.bits}"]
        parts += [] if self.padding_idx is None else [f"padding_idx={self.padding_idx}"]
        return ", ".join(parts)


def scale_rows(rows: Tensor, scale: float | Tensor | None) -> Tensor:
    """Rows times the scale of an embedding; see `SubspaceEmbedding`."""
    if scale is None:
        return rows
    return rows * (scale.to(rows.dtype) if isinstance(scale, Tensor) else scale)


def _without_autocast(device_type: str) -> AbstractContextManager[object]:
    """An embedding keeps its precision under autocast, as torch's own does."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def _empty_tensors(shape: LayerShape) -> dict[str, Tensor | None]:
    """What a layer of this shape holds, by name; None for what it does not need.

    Floats are of torch's default dtype: transformers sets it to the one that a model is loaded in,
    and loads into the dtype it finds.
    """
    coding, total = shape.coding, sum(shape.dimensions)
    codes, halves = torch.uint8, torch.int16
    coordinates = bases = offsets = torch.get_default_dtype() if coding is None else halves
    if coding is not None:
        coordinates = codes
        bases = halves if coding.basis_bits == 16 else codes
    return {
        "weight": torch.empty(sum(shape.block_lengths), dtype=coordinates),
        "bases": torch.empty(total, shape.columns, dtype=bases),
        "offsets": torch.empty(shape.k, shape.columns, dtype=offsets) if shape.affine else None,
        "steps": None if coding is None else torch.empty(total),
        "basis_steps": torch.empty(total, dtype=halves) if bases == codes else None,
        "labels": torch.empty(shape.label_bytes, dtype=codes) if shape.k > 1 else None,
    }


def _stored(factorization: Factorization) -> dict[str, Tensor]:
    """What a factorization comes to under the names of `SubspaceEmbedding`."""
    coordinates, bases = factorization.coordinates, factorization.bases
    tensors = {
        "weight": torch.cat([_entries(block).reshape(-1) for block in coordinates]),
        "bases": torch.cat([_entries(basis) for basis in bases]),
    }
    steps = [block.steps.reshape(-1) for block in coordinates if isinstance(block, CodedMatrix)]
    basis_steps = [
        _entries(basis.steps).reshape(-1) for basis in bases if isinstance(basis, CodedMatrix)
    ]
    tensors |= {"steps": torch.cat(steps)} if steps else {}
    tensors |= {"basis_steps": torch.cat(basis_steps)} if basis_steps else {}
    if factorization.offsets is not None:
        tensors["offsets"] = torch.stack([_entries(offset) for offset in factorization.offsets])
    if factorization.k > 1:
        tensors["labels"] = pack_integers(factorization.labels, bits_for(factorization.k))
    return tensors


def _entries(part: Tensor | CodedMatrix) -> Tensor:
    if isinstance(part, CodedMatrix):
        return part.codes
    # Only coded factorizations hold halves: as their bits, which no change of dtype touches.
    return part.view(torch.int16) if part.dtype == torch.float16 else part
