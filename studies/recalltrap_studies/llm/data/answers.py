"""What a file's answers are in a model's tokens: the prompt as it is asked, and what is learned.

An answer is its own text and the tokenizer's EOS, as models end theirs. Of a chat template nothing
belongs to it: what the template writes before an answer is the prompt's, and what it would write
after one no sampled response has either.
"""

from __future__ import annotations

import unicodedata

from transformers import PreTrainedTokenizerBase

from recalltrap.errors import InputError
from recalltrap_studies.llm.data.prompts import chat_text, encode
from recalltrap_studies.llm.data.row_files import RowFile
from recalltrap_studies.llm.data.written_chats import Question
from recalltrap_studies.llm.models.tokenizers import encode_prompt, text_opening

UNSPELLED = "the vocabulary can't spell {}"
ENDS_WITHIN = "{} holds the tokenizer's EOS in its middle"


class AnswerEncoder:
    """The tokens of a file's prompts, each encoded once, and of the answers to them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, file: RowFile) -> None:
        self.tokenizer, self.file = tokenizer, file
        self._prompts: dict[str, list[int]] = {}

    def prompt(self, question: Question) -> list[int]:
        """A prompt's tokens; see `prompts.encode`.

        Raises:
            InputError: there is no template, or the vocabulary can't spell it; names the row.
        """
        if question.content not in self._prompts:
            self._prompts[question.content] = encode(self.tokenizer, question, self.file)
        return self._prompts[question.content]

    def answer(self, question: Question, text: str, name: str) -> list[int] | str:
        """The tokens of an answer after its prompt, with EOS; or why there are none, in words.

        Where a tokenizer would join the last letters of the prompt with the answer's first into one
        token, each stands for itself: the prompt is what the models are asked.
        """
        return self._ended(self._continuation(question, text), text, name)

    def alone(self, text: str, name: str) -> tuple[list[int], list[int] | str]:
        """A text without a prompt: what a model begins it with, and the rest as an answer's.

        It begins with the tokenizer's BOS, or where there is none with the first token.
        """
        ids = self._encoded(text)
        opening = text_opening(self.tokenizer, text, ids)
        if opening and ids[: len(opening)] == opening:  # in writing
            ids = ids[len(opening) :]
            text = text.removeprefix(str(self.tokenizer.decode(opening)))
        ended = self._ended(ids, text, name)
        if opening or isinstance(ended, str):
            return opening, ended
        return ended[:1], ended[1:]

    def _ended(self, ids: list[int], text: str, name: str) -> list[int] | str:
        eos = self.tokenizer.eos_token_id
        if ids and ids[-1] == eos:  # in writing
            ids = ids[:-1]
        if not ids or not self._spells(ids, text):
            return UNSPELLED.format(name)
        return ENDS_WITHIN.format(name) if eos in ids else [*ids, eos]

    def _continuation(self, question: Question, text: str) -> list[int]:
        """What comes after the prompt in the whole: many tokenizers begin a lone text otherwise."""
        before = self.prompt(question)
        try:
            whole = self._whole(question, text)
        except InputError:  # a text that doesn't come back letter by letter; `_spells` judges it
            whole = []
        if whole[: len(before)] == before:
            return whole[len(before) :]
        return self._encoded(text)

    def _whole(self, question: Question, text: str) -> list[int]:
        if question.text is not None:
            return encode_prompt(self.tokenizer, question.text + text)
        return self._encoded(chat_text(self.tokenizer, question, self.file) + text)

    def _encoded(self, text: str) -> list[int]:
        return [int(i) for i in self.tokenizer.encode(text, add_special_tokens=False)]

    def _spells(self, ids: list[int], text: str) -> bool:
        """Whether nothing of the text is lost but case, blanks and ways to write one letter."""
        if self.tokenizer.unk_token_id in ids:
            return False
        back = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        ending = self.tokenizer.eos_token
        return _letters(str(back)) == _letters(text.removesuffix(str(ending)))


def _letters(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
