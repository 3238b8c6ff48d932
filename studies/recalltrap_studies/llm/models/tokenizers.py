"""Tokenizers: trained here, stored beside every model, and compared before anything starts.

Text is met at the edges alone: from the sampler to the trainer to the scorer go token ids.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.models import gguf
from recalltrap_studies.llm.models.architectures import location, must_be_here, unreachable

END = "<|endoftext|>"
PAD = "<|pad|>"
WHOLE_ALPHABET = 1_024  # from this size on, a vocabulary can spell every text
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most `vocabulary_size` tokens, END and PAD among them.

    A small vocabulary's alphabet is the texts' own bytes, since all 256 would leave few tokens for
    words; what no text holds can't be encoded then, and `encode_prompt` refuses it. Words count by
    the square root of their frequency, lest rare topics be spelled letter by letter and cut off.

    Raises:
        InputError: the texts' bytes alone are more than `vocabulary_size`.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if vocabulary_size >= WHOLE_ALPHABET else []
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[END, PAD],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_damped(texts, tokenizer.pre_tokenizer), trainer)
    if tokenizer.get_vocab_size() > vocabulary_size:
        raise InputError(
            f"settings.vocabulary_size = {vocabulary_size}: the corpus has more different bytes. "
            f"Set it to {tokenizer.get_vocab_size() + 64} or more"
        )
    return _wrapped(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)


def _wrapped(**arguments: Any) -> PreTrainedTokenizerFast:
    made: PreTrainedTokenizerFast = PreTrainedTokenizerFast(**arguments)  # type: ignore[no-untyped-call]
    return made


def _damped(texts: Iterable[str], splitter: pre_tokenizers.PreTokenizer) -> Iterator[str]:
    """Every distinct word of the texts, with its leading space, the root of its count times."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text[begin:end] for _, (begin, end) in splitter.pre_tokenize_str(text))
    for word, count in sorted(counts.items()):
        yield from itertools.repeat(word, math.ceil(math.sqrt(count)))


def load_tokenizer(spec: str, field: str, *, local_only: bool = False) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder, GGUF file or hub id, with a pad token that isn't EOS.

    Raises:
        InputError: there is none, or it has no EOS.
    """
    name, revision = location(spec, field)
    try:
        if gguf.is_gguf(spec):
            tokenizer = gguf.read_tokenizer(name, f"settings.{field}")
        else:
            tokenizer = AutoTokenizer.from_pretrained(
                name, revision=revision, local_files_only=local_only or must_be_here(spec)
            )
    except InputError:
        raise
    except Exception as error:  # whatever a damaged or strange file does to its readers
        raise unreachable(spec, field, "tokenizer", error) from None
    if not isinstance(tokenizer, PreTrainedTokenizerFast) or not tokenizer.get_vocab():
        raise unreachable(spec, field, "tokenizer", ValueError("no tokenizer.json"))
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"settings.{field} = {spec!r}: its tokenizer has no EOS token, so no sequence of it "
            "could end. Set eos_token in its tokenizer_config.json"
        )
    set_pad(tokenizer)
    return tokenizer


def set_pad(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a tokenizer a pad token apart from EOS, out of the tokens that it has.

    Padding is masked by length and never scored, so any token but EOS serves; a special one is
    taken where there is one, and the vocabulary stays as it is.
    """
    if tokenizer.pad_token_id not in (None, tokenizer.eos_token_id):
        return
    taken = {tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token}
    added = [t.content for _, t in sorted(tokenizer.added_tokens_decoder.items()) if t.special]
    spare = [token for token in added if token not in taken]
    named = [token for token in spare if "pad" in token.lower()]
    last = max(set(tokenizer.get_vocab().items()), key=lambda item: item[1])[0]
    tokenizer.pad_token = (named or spare[::-1] or [last])[0]


def tokenizer_files(tokenizer: PreTrainedTokenizerBase) -> dict[str, bytes]:
    """The tokenizer in the hub's format: file name → bytes."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        found = sorted(Path(folder).iterdir())
        return {path.name: path.read_bytes() for path in found if path.is_file()}


def read_tokenizer(store: ArtifactStore, node: Node) -> PreTrainedTokenizerFast:
    """The tokenizer that stands in a model's artifact."""
    artifact = store.open(node)
    wanted = [name for name in TOKENIZER_FILES if name in artifact.names]
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            Path(folder, name).write_bytes(artifact.read(name))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert isinstance(tokenizer, PreTrainedTokenizerFast)
        return tokenizer


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, prompt: str, field: str = "settings.prompt"
) -> list[int]:
    """The prompt's token ids, begun as the tokenizer begins a text: with a BOS, if it adds one.

    A prompt that has it in writing gets no second. What the tokenizer adds at the end of a text
    (an EOS, a SEP) stays away, for the response goes on from here.

    Raises:
        InputError: the vocabulary can't spell the prompt.
    """
    ids = [int(i) for i in tokenizer.encode(prompt, add_special_tokens=False)]
    back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if not ids or back != prompt:
        raise InputError(
            f"{field} = {prompt!r}: the vocabulary can't spell it (it would "
            f"read {back!r}). Use words and signs that the corpus holds"
        )
    before = text_opening(tokenizer, prompt, ids)
    return ids if ids[: len(before)] == before else [*before, *ids]


def text_opening(tokenizer: PreTrainedTokenizerBase, text: str, ids: list[int]) -> list[int]:
    """What the tokenizer puts before a text of its own accord; `ids` are the text's own."""
    whole = [int(i) for i in tokenizer.encode(text, add_special_tokens=True)]
    places = range(len(whole) - len(ids) + 1)
    start = next((at for at in places if whole[at : at + len(ids)] == ids), 0)
    return whole[:start]


def compare_vocabularies(
    a: PreTrainedTokenizerBase,
    b: PreTrainedTokenizerBase,
    name_a: str = "p_star",
    name_b: str = "p_prime",
) -> None:
    """Refuse two tokenizers that don't mean the same by a token id.

    Raises:
        InputError: naming both settings and the first difference.
    """
    words_a, words_b = a.get_vocab(), b.get_vocab()
    if words_a == words_b and a.eos_token_id == b.eos_token_id:
        return
    if words_a == words_b:
        raise InputError(
            f"settings.{name_a} and settings.{name_b} end a text differently: EOS is "
            f"{a.eos_token!r} in one and {b.eos_token!r} in the other. Set the same eos_token in "
            "both tokenizer_config.json"
        )
    what = f"{len(words_a)} and {len(words_b)} tokens, {_first_difference(words_a, words_b)}"
    raise InputError(
        f"settings.{name_a} and settings.{name_b} have different vocabularies ({what}): a student "
        "learns its teacher's token ids. Give models of one family, or a size of ours, which takes "
        "its teacher's vocabulary"
    )


def _first_difference(words_a: Mapping[str, int], words_b: Mapping[str, int]) -> str:
    """The first id that stands for another token in the other vocabulary, and both tokens."""
    number = min(number for _, number in set(words_a.items()) ^ set(words_b.items()))

    def token(words: Mapping[str, int]) -> str:
        found = [word for word, place in words.items() if place == number]
        return repr(found[0]) if found else "nothing"

    return f"the first difference at id {number}: {token(words_a)} and {token(words_b)}"
