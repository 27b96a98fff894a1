"""k small layers in place of one embedding: `SubspaceEmbedding`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from engine.coding.codes import Coding
from engine.coding.mixed import MixedCoding
from engine.coding.packing import bits_for, unpack_integers
from engine.errors import FormatError, ParameterError, ShapeError
from engine.factorization import Factorization
from engine.network.shape import LayerShape
from engine.network.small_layer import SmallLayer
from engine.network.tensors import check_bits, empty_tensors, tensors_of
from engine.network.trained_bases import TrainedBases
from engine.rows import BLOCK_ROWS

_Parts = Sequence[Tensor | None]  # one of each small layer


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
    - Of a coded plan (`engine.coding.mixed`), ``bases`` too is flat and uint8, Σ d·b_c for bases
      of b_c bytes a row, and ``bits`` and ``basis_bits``, shape (Σ j_c,) and uint8, say how many
      bits each column has. Nothing of it is trained.

    In memory there are also ``positions``, 4 bytes a row: where each row lies.

    Attributes:
        shape: Sizes of the layers.
        num_embeddings: n.
        embedding_dim: d.
        padding_idx: A row that gets no gradient, as in `torch.nn.Embedding`.
        scale: What the looked-up rows are multiplied with. A number is applied as it is, a tensor
            after it was rounded to the layer's dtype: model families differ in that.
        trained_bases: Those of a coded plan while they are trained, else None.

    Source: Maalouf, Lang, Rus, Feldman, *Deep Learning Meets Projective Clustering*, ICLR 2021.
    """

    weight: Tensor
    bases: Tensor
    offsets: Tensor | None
    labels: Tensor | None
    steps: Tensor | None
    basis_steps: Tensor | None
    bits: Tensor | None
    basis_bits: Tensor | None
    positions: Tensor
    trained_bases: TrainedBases | None

    def __init__(
        self,
        factorization: Factorization,
        *,
        padding_idx: int | None = None,
        scale: float | Tensor | None = None,
    ) -> None:
        """Make the layer of a factorization; its numbers are copied.

        Args:
            factorization: Of the layer's weight, quantised, coded or neither.
            padding_idx: A row that gets no gradient, 0 … n−1, or counted from the end.
            scale: See the class.

        Raises:
            ShapeError: If ``padding_idx`` is no row.
        """
        super().__init__()
        self._declare(LayerShape.of(factorization), padding_idx, scale)
        with torch.no_grad():
            for name, value in tensors_of(factorization).items():
                empty = getattr(self, name)
                shaped = value.view(empty.shape)
                trained = isinstance(empty, nn.Parameter)
                setattr(self, name, nn.Parameter(shaped) if trained else shaped)
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
        self.trained_bases = None
        self._starts = shape.starts
        self._cuts = torch.tensor(shape.starts, dtype=torch.int32, device="cpu")
        trained = shape.coding is None
        for name, value in empty_tensors(shape).items():
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
            FormatError: If the labels give a subspace another number of rows than it has, or its
                columns' bits fill other bytes than its codes have.
        """
        device = self.weight.device
        if device.type == "meta":
            return
        if self.bits is not None and self.basis_bits is not None:
            check_bits(self.shape, self.bits, self.basis_bits)
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

    def train_bases(self) -> None:
        """Let an optimiser train the bases and offsets of a coded plan; coordinates stay coded.

        They become floats, rounded to codes of the same bits at every use: what comes out, and
        what is saved, is at all times what the codes stand for, in as many bytes as before. Call
        it before the optimiser is made. `TrainedBases` says how.

        Raises:
            ParameterError: If the layer is of no coded plan.
        """
        if self.basis_bits is None or self.basis_steps is None:
            raise ParameterError(
                "train_bases() is for coded plans; the bases of floats are trained without it, and "
                "those of quantised factors cannot be"
            )
        if self.dtype != torch.float32:
            raise ParameterError(
                f"bases are trained in float32, got a layer in {self.dtype}; call .float() on the "
                "model first, and train it with autocast"
            )
        self.code_bases()
        self.trained_bases = TrainedBases(self._layers(), self.basis_steps, self.basis_bits)

    def code_bases(self) -> None:
        """End what `train_bases` began: keep the codes of what was learned, and nothing else."""
        if self.trained_bases is not None:
            for name, codes in self.trained_bases.codes(self.shape.dimensions).items():
                setattr(self, name, codes)
            self.trained_bases = None

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:  # noqa: ANN401 - torch's
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.trained_bases is not None:
            codes = self.trained_bases.codes(self.shape.dimensions)
            destination.update({prefix + name: part for name, part in codes.items()})

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - torch's
        super()._load_from_state_dict(*args, **options)
        self.refresh_positions()
        state, prefix, *_ = args
        if f"{prefix}bases" not in state:
            return  # of other layers: what was learned stays
        held, self.trained_bases = self.trained_bases, None
        if held is not None and self.basis_bits is not None and self.basis_steps is not None:
            held.take(TrainedBases(self._layers(), self.basis_steps, self.basis_bits))
            self.trained_bases = held  # the same: an optimiser may know its parameters

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
            if self.trained_bases is not None:
                none = self.trained_bases.bases[:0]
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
        parts = [self.weight, self.bases, self.offsets]
        if self.trained_bases is not None:
            parts += [self.trained_bases.bases, self.trained_bases.offsets]
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
        shape, coding = self.shape, self.shape.coding
        # Split, not sliced: the gradients of all parts then make one tensor, not k of full size.
        blocks = self.weight.split(shape.block_lengths)
        bases, offsets, basis_bits, basis_steps = self._stored_bases()
        bits, steps = (
            [None] * shape.k if part is None else part.split(shape.dimensions)
            for part in (self.bits, self.steps)
        )
        return [
            SmallLayer(
                block=blocks[c].view(size, width),
                basis=bases[c],
                offset=offsets[c],
                bits=coding.bits if isinstance(coding, Coding) else bits[c],
                steps=steps[c],
                basis_bits=coding.basis_bits if isinstance(coding, Coding) else basis_bits[c],
                basis_steps=basis_steps[c],
            )
            for c, (size, width) in enumerate(zip(shape.sizes, shape.widths, strict=True))
        ]

    def _stored_bases(self) -> tuple[Sequence[Tensor], _Parts, _Parts, _Parts]:
        """Of each small layer the basis, the offset, and the bits and steps of a coded basis."""
        shape, coding = self.shape, self.shape.coding
        nothing: _Parts = [None] * shape.k
        if self.trained_bases is not None:
            rounded, moved = self.trained_bases.rounded()
            offsets = nothing if moved is None else moved.unbind()
            return rounded.split(shape.dimensions), offsets, nothing, nothing
        bases = self.bases.split(shape.basis_lengths)
        if isinstance(coding, MixedCoding):
            turned = zip(bases, coding.basis_row_bytes, strict=True)
            bases = tuple(basis.view(shape.columns, width) for basis, width in turned)
        offsets = nothing if self.offsets is None else self.offsets.unbind()
        bits, steps = (
            nothing if part is None else part.split(shape.dimensions)
            for part in (self.basis_bits, self.basis_steps)
        )
        return bases, offsets, bits, steps

    def extra_repr(self) -> str:
        """The sizes, as `torch.nn.Embedding` prints them, and what is special here."""
        shape = self.shape
        parts = [f"{shape.rows}, {shape.columns}", f"k={shape.k}", f"j={shape.dimensions}"]
        parts += ["affine"] if shape.affine else []
        parts += [] if shape.coding is None else [f"bits={shape.coding.named_bits}"]
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
