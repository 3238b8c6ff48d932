"""What draws responses from a model: transformers with a growing or a fixed cache, or vLLM.

All engines meet one contract: the whole distribution at temperature tau, with no cut of the tail;
log-probabilities under the distribution that was drawn from; and a draw of a row that depends on
that row's uniforms alone. Legend: B rows, T new tokens, V vocabulary.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import DynamicCache

from recalltrap.errors import InputError, StageError, is_out_of_memory
from recalltrap_studies.llm.data.responses import Request, Responses, check_context
from recalltrap_studies.llm.inference import captured_steps
from recalltrap_studies.llm.inference.left_padding import lengthened, placement, row_mask

Cache = Literal["dynamic", "fixed"]
DROP = 0.9
"""Finished rows leave the batch once fewer than this share of it goes on: 1.5 times as fast where
responses have half the longest one's length."""
BLOCK = 128
"""Tokens summed at once in the inverse CDF: of 49,152 tokens only the sums get a float64 CDF."""


Draw = Callable[[Request, Tensor], Responses]
"""An engine that holds a model: `draw(request, uniforms_BT)`."""


def inverse_cdf(logits_BV: Tensor, uniforms_B: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens [B] drawn from softmax(logits) by the uniforms in [0, 1), and their log-probabilities.

    Logits are float32, sums float64. A token's share of the uniforms is its probability, however
    small, and a token of probability 0 has none.
    """
    last = logits_BV.shape[1] - 1
    rest = -logits_BV.shape[1] % BLOCK
    if rest:
        logits_BV = torch.nn.functional.pad(logits_BV, (0, rest), value=-torch.inf)
    # Unnormalised probabilities, summed by blocks: only the sums need float64.
    shifted_BV = logits_BV - logits_BV.amax(dim=1, keepdim=True)
    mass_BNK = shifted_BV.exp().view(len(logits_BV), -1, BLOCK)
    sums_BN = mass_BNK.sum(dim=2, dtype=torch.float64)
    edges_BN = sums_BN.cumsum(dim=1)
    total_B1 = edges_BN[:, -1:]
    # The block that holds the uniform's share of the total ...
    point_B1 = _below(uniforms_B[:, None] * total_B1, total_B1)
    block_B1 = torch.searchsorted(edges_BN, point_B1, right=True).clamp_(max=sums_BN.shape[1] - 1)
    # ... and what is left of it inside the block, which finds the token.
    point_B1 = point_B1 - (edges_BN.gather(1, block_B1) - sums_BN.gather(1, block_B1))
    inner_BK = mass_BNK[torch.arange(len(logits_BV), device=logits_BV.device), block_B1[:, 0]]
    inner_BK = inner_BK.double().cumsum(dim=1)
    place_B1 = torch.searchsorted(inner_BK, _below(point_B1, inner_BK[:, -1:]), right=True)
    token_B1 = (block_B1 * BLOCK + place_B1).clamp_(max=last)  # beyond it only for NaN
    log_prob_B1 = shifted_BV.gather(1, token_B1).double() - total_B1.log()
    return token_B1[:, 0], log_prob_B1[:, 0].float()


def _below(point: Tensor, top: Tensor) -> Tensor:
    """The point, or the last number below `top`: rounding never reaches past the last token."""
    return torch.minimum(point, torch.nextafter(top, torch.zeros_like(top)))


def generate(
    model: Any, request: Request, uniforms_BT: Tensor, *, cache: Cache | None = None
) -> Responses:
    """Draw one response per row of `uniforms_BT` (float64, [B, max_new_tokens], in [0, 1)).

    `request.prompts` has B rows, or one for all.
    The cache has a fixed shape on CUDA, where a step is one graph, and grows elsewhere; so it does
    for a model that `captured_steps` can't hold. The model's mode is restored; no gradient is kept.

    Raises:
        InputError: prompt and response don't fit the model's context.
        StageError: of the class `nan` (the model's logits aren't finite) or `oom`.
    """
    check_context(model.config, request)
    if tuple(uniforms_BT.shape[1:]) != (request.max_new_tokens,):
        raise ValueError(f"uniforms {list(uniforms_BT.shape)}, not [B, {request.max_new_tokens}]")
    fixed = cache == "fixed" or (cache is None and model.device.type == "cuda")
    drawn = _InverseCdfSampler(request, uniforms_BT.to(model.device))
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            _decode(model, request, drawn, fixed=fixed)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise StageError("oom", f"sampling {len(uniforms_BT)} responses at once: {error}") from None
    finally:
        model.train(training)
    return _responses(drawn.tokens_BT, drawn.log_probs_BT, request)


class _InverseCdfSampler:
    """Draws each step's tokens and keeps them."""

    def __init__(self, request: Request, uniforms_BT: Tensor) -> None:
        self.temperature, self.uniforms_BT = request.temperature, uniforms_BT
        shape, where = uniforms_BT.shape, uniforms_BT.device
        self.step = torch.zeros(1, dtype=torch.int64, device=where)  # counted on the device
        self.tokens_BT = torch.full(shape, request.pad_id, dtype=torch.int64, device=where)
        self.log_probs_BT = torch.zeros(shape, dtype=torch.float32, device=where)

    def draw(self, logits_RV: Tensor, rows_R: Tensor) -> Tensor:
        """The next token of some rows, from their logits."""
        place = (rows_R, self.step)
        tokens_R, log_probs_R = inverse_cdf(
            logits_RV.float() / self.temperature, self.uniforms_BT[place]
        )
        self.tokens_BT[place] = tokens_R
        self.log_probs_BT[place] = log_probs_R
        self.step += 1
        return tokens_R


def _decode(model: Any, request: Request, drawn: _InverseCdfSampler, *, fixed: bool) -> None:
    """Read the prompt, then draw token after token; finished rows leave the batch."""
    where = drawn.tokens_BT.device
    rows_R = torch.arange(len(drawn.tokens_BT), device=where)
    inputs_RL = request.prompts.ids_BP.to(where).expand(len(rows_R), -1)
    mask_RL = row_mask(request.prompts, len(rows_R), where)
    live_R = torch.ones(len(rows_R), dtype=torch.bool, device=where)
    cache = DynamicCache(config=model.config)
    for step in range(request.max_new_tokens):
        options = {"past_key_values": cache, "use_cache": True, "logits_to_keep": 1}
        options |= placement(model, mask_RL, inputs_RL.shape[1])
        output = model(input_ids=inputs_RL, **options)
        tokens_R = drawn.draw(output.logits[:, -1], rows_R)
        if step == 0 and fixed and captured_steps.capturable(model, cache):
            mask_RP = torch.ones_like(inputs_RL) if mask_RL is None else mask_RL
            decoder = captured_steps.StepDecoder(
                model, cache, mask_RP, tokens_R, request.eos_id, drawn.draw,
                request.max_new_tokens - 1,
            )  # fmt: skip
            decoder.run(DROP)
            return
        live_R = live_R & (tokens_R != request.eos_id)
        live = int(live_R.sum())
        if live == 0:
            return
        # Rows that are finished would be computed for nothing.
        if live < DROP * len(rows_R):
            keep = live_R.nonzero()[:, 0]
            cache.batch_select_indices(keep)
            rows_R, tokens_R, live_R = rows_R[keep], tokens_R[keep], live_R[keep]
            mask_RL = None if mask_RL is None else mask_RL[keep]
        inputs_RL, mask_RL = tokens_R[:, None], lengthened(mask_RL, 1)


def _responses(tokens_BT: Tensor, log_probs_BT: Tensor, request: Request) -> Responses:
    """Mask what came after the first EOS."""
    eos_BT = tokens_BT == request.eos_id
    mask_BT = (eos_BT.cumsum(dim=1) - eos_BT.long()) == 0
    log_probs_BT = torch.where(mask_BT, log_probs_BT, 0.0)
    if not bool(torch.isfinite(log_probs_BT).all()):
        raise StageError(
            "nan",
            "the model that is sampled gives log-probabilities that are not finite: its weights "
            "are broken. Lower the learning rate that it was trained with",
        )
    tokens_BT = torch.where(mask_BT, tokens_BT, request.pad_id)
    return Responses(tokens_BT, mask_BT, log_probs_BT, eos_BT.any(dim=1))


@contextlib.contextmanager
def opened(engine: str, model: Any) -> Iterator[Draw]:
    """An engine that holds the model for as long as the context lasts.

    vLLM wants the device to itself: give it a model on the CPU. It forms its own batches, so give
    it all that there is to draw at once. Its memory is free again when the context ends.

    Raises:
        InputError: vLLM isn't installed.
    """
    if engine == "transformers":
        yield lambda request, uniforms_BT: generate(model, request, uniforms_BT)
        return
    try:
        vllm = importlib.import_module("vllm")
    except ImportError:
        raise InputError(
            "settings.engine = 'vllm', and vLLM isn't installed: pip install 'recalltrap[vllm]', "
            "or set engine to 'transformers'"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        llm = vllm.LLM(
            model=folder,
            skip_tokenizer_init=True,
            dtype="bfloat16" if torch.cuda.is_available() else "float32",
            logprobs_mode="processed_logprobs",
            generation_config="vllm",
            max_model_len=model.config.max_position_embeddings,
        )
        try:
            yield partial(_ask_vllm, vllm.SamplingParams, llm, model.config)
        finally:
            _shut_down(llm)


def _shut_down(llm: Any) -> None:
    """End vLLM's process, which else holds nearly all of the GPU, and free what is left here."""
    llm.llm_engine.engine_core.shutdown()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _ask_vllm(
    sampling_params: Any, llm: Any, config: Any, request: Request, uniforms_BT: Tensor
) -> Responses:
    """A row's first uniform seeds that row's own generator: its draw depends on nothing else."""
    check_context(config, request)
    parameters = [
        sampling_params(
            temperature=request.temperature,
            top_p=1.0,
            top_k=-1,
            max_tokens=request.max_new_tokens,
            stop_token_ids=[request.eos_id],
            logprobs=0,
            seed=int(uniform * 2**53),
            detokenize=False,
        )
        for uniform in uniforms_BT[:, 0].tolist()
    ]
    rows = request.prompts.expanded(len(parameters)).lists()
    prompts = [{"prompt_token_ids": row} for row in rows]
    tokens_BT = torch.full(uniforms_BT.shape, request.pad_id, dtype=torch.int64)
    log_probs_BT = torch.zeros(uniforms_BT.shape, dtype=torch.float32)
    for row, result in enumerate(llm.generate(prompts, parameters, use_tqdm=False)):
        tokens = list(result.outputs[0].token_ids)
        steps = zip(tokens, result.outputs[0].logprobs, strict=True)
        tokens_BT[row, : len(tokens)] = torch.tensor(tokens)
        log_probs_BT[row, : len(tokens)] = torch.tensor([at[t].logprob for t, at in steps])
    return _responses(tokens_BT, log_probs_BT, request)
