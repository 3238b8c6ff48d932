"""The step of a decoder on a GPU: a cache of fixed shape, and all its kernels as one CUDA graph.

A step of a small model is a thousand kernels of microseconds, and launching them from Python takes
ten times as long as they do. A graph launches them at once. It needs tensors that stay where they
are, so what a step reads and writes stands in buffers, and a step sees a window of the cache that
grows by `WINDOW` places; for each window, and whenever many rows have ended, it is captured anew.

Legend: R rows, L places of the cache, P of them the prompt's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from recalltrap_studies.llm.inference.left_padding import takes_positions
from recalltrap_studies.llm.models.upstream import attention_of

log = logging.getLogger(__name__)

WINDOW = 128
"""Places by which the visible part of the cache grows: a place that nothing stands in yet is read
for nothing, and each window costs a capture, as long as one step without a graph."""
CHECK = 16
"""Steps between looking whether any row goes on: looking waits for the device."""

DrawNext = Callable[[Tensor, Tensor], Tensor]
"""(logits [R, V], rows [R]) -> their next tokens [R]; without waiting for the device."""


def capturable(model: Any, prefilled: DynamicCache) -> bool:
    """Whether a fixed cache computes what this model's own one does.

    Sliding windows, recurrent states and attention that takes no mask keep their own cache.
    """
    full = all(type(layer) is DynamicLayer for layer in prefilled.layers)
    masked = attention_of(model.config) in ("sdpa", "eager")
    return full and masked and takes_positions(type(model).forward)


class _FixedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of a layer in buffers [R, heads, L, width]; a step sees the first places."""

    def __init__(self, prefilled: Any, decoder: StepDecoder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.decoder, self.is_initialized = decoder, True
        self.keys = self._buffer(prefilled.keys)
        self.values = self._buffer(prefilled.values)

    def _buffer(self, prompt: Tensor) -> Tensor:
        rows, heads, places, width = prompt.shape
        room = prompt.new_zeros((rows, heads, self.decoder.places, width))
        room[:, :, :places] = prompt
        return room

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Put one token's key and value at the decoder's place; returns the visible part."""
        assert self.keys is not None
        assert self.values is not None
        for buffer, new in ((self.keys, key_states), (self.values, value_states)):
            buffer.index_copy_(2, self.decoder.place, new.to(buffer.dtype))
        window = self.decoder.window
        return self.keys[:, :, :window], self.values[:, :, :window]

    def keep(self, rows: Tensor) -> None:
        """Only these rows go on."""
        assert self.keys is not None
        assert self.values is not None
        self.keys, self.values = self.keys[rows], self.values[rows]


class StepDecoder:
    """Draws what follows a prompt that a model has read, one token of all rows a step.

    Args:
        model: In eval mode, and without gradients.
        prefilled: Its cache after the prompt, for which `capturable` holds.
        mask_RP: Which places of the prompt hold a token.
        tokens_R: The first token drawn after it.
        eos_id: The token that ends a row.
        draw_next: Draws and keeps the next tokens.
        steps: How many tokens may follow.
    """

    def __init__(
        self,
        model: Any,
        prefilled: DynamicCache,
        mask_RP: Tensor,
        tokens_R: Tensor,
        eos_id: int,
        draw_next: DrawNext,
        steps: int,
    ) -> None:
        where, (rows, prompt) = tokens_R.device, mask_RP.shape
        self.model, self.draw_next, self.eos_id, self.steps = model, draw_next, eos_id, steps
        self.places = -(-(prompt + steps) // WINDOW) * WINDOW
        self.window, self.filled = 0, prompt
        self.place = torch.full((1,), prompt, device=where)
        self.rows_R = torch.arange(rows, device=where)
        self.tokens_R1 = tokens_R[:, None].clone()
        self.positions_R1 = mask_RP.sum(1, keepdim=True)
        self.live_R = tokens_R != eos_id
        autocast = torch.is_autocast_enabled(where.type)
        kind = torch.get_autocast_dtype(where.type) if autocast else model.dtype
        # What is added to the attention's scores: 0 where a token stands, else minus infinity.
        self.bias_R11L = torch.full((rows, 1, 1, self.places), -torch.inf, dtype=kind, device=where)
        self.bias_R11L[:, 0, 0, :prompt].masked_fill_(mask_RP.bool(), 0.0)
        self.layers: list[_FixedLayer] = []
        for read in prefilled.layers:
            layer: Any = read
            self.layers.append(_FixedLayer(layer, self))
            layer.keys = layer.values = None  # room for the next one
        self.cache = Cache(layers=list(self.layers))
        self.graphs = _Graphs(where) if where.type == "cuda" else None

    def run(self, drop: float) -> None:
        """All steps, or until every row has ended.

        Args:
            drop: Ended rows leave once fewer than this share goes on, where it costs no capture.
        """
        replay: Callable[[], None] | None = None
        for step in range(self.steps):
            if step % CHECK == 0:
                live = int(self.live_R.sum())
                if live == 0:
                    return
            room = self.filled < self.window
            # Half of the rows are worth a capture; where there is one anyway, fewer are.
            if live < (0.5 if room else drop) * len(self.rows_R):
                self._keep(self.live_R.nonzero()[:, 0])
                room = False
            if not room:
                replay = None  # its memory is the next one's
                self.window = min(-(-(self.filled + 1) // WINDOW) * WINDOW, self.places)
                left = min(self.window - self.filled, self.steps - step)
                replay = self._first_of_window(capture=left > 2)
            elif replay is not None:
                replay()
            else:
                self._step()
            self.filled += 1

    def _first_of_window(self, *, capture: bool) -> Callable[[], None] | None:
        """A step as it is, which readies libraries for the capture of the next ones."""
        if self.graphs is None or not capture:
            self._step()
            return None
        return self.graphs.run_and_capture(self._step)

    def _keep(self, rows: Tensor) -> None:
        for layer in self.layers:
            layer.keep(rows)
        self.rows_R, self.live_R = self.rows_R[rows], self.live_R[rows]
        self.tokens_R1, self.positions_R1 = self.tokens_R1[rows], self.positions_R1[rows]
        self.bias_R11L = self.bias_R11L[rows]

    def _step(self) -> None:
        self.bias_R11L.index_fill_(3, self.place, 0.0)
        output = self.model(
            input_ids=self.tokens_R1,
            attention_mask=self.bias_R11L[..., : self.window],
            position_ids=self.positions_R1,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        tokens_R = self.draw_next(output.logits[:, -1], self.rows_R)
        self.live_R &= tokens_R != self.eos_id
        self.tokens_R1.copy_(tokens_R[:, None])
        self.positions_R1 += 1
        self.place += 1


class _Graphs:
    """Captures of one decoder's step, one alive at a time."""

    def __init__(self, where: torch.device) -> None:
        stream: Any = torch.cuda.Stream  # untyped
        self.where, self.stream, self.refused = where, stream(where), False

    def run_and_capture(self, step: Callable[[], None]) -> Callable[[], None] | None:
        """Run the step, and capture it; None where it can't be captured, and is run as it is."""
        if self.refused:
            step()
            return None
        outer = torch.cuda.current_stream(self.where)
        self.stream.wait_stream(outer)
        graph: Any = torch.cuda.CUDAGraph()
        # Weights cast once would stand in memory that the graph doesn't own: cast at every step.
        autocast = torch.autocast(
            "cuda",
            dtype=torch.get_autocast_dtype("cuda"),
            enabled=torch.is_autocast_enabled("cuda"),
            cache_enabled=False,
        )
        with torch.cuda.stream(self.stream), autocast:
            step()
            try:
                graph.capture_begin(capture_error_mode="thread_local")
                try:
                    step()
                finally:
                    graph.capture_end()
            except RuntimeError as error:
                first = str(error).strip().splitlines()[0]
                log.warning("a decoder's step can't be captured, going on without: %s", first)
                self.refused = True
        outer.wait_stream(self.stream)
        return None if self.refused else graph.replay
