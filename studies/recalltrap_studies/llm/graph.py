"""A cell as a graph of stages: which node is made from which, and what each one's identity holds.

p* and every model that is given have seed 0 whatever the cell's seed: they are trained or loaded
once for all. Everything else belongs to a seed, and both orderings of a seed share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.orderings import Ordering, walk
from recalltrap.settings_parts import part_config
from recalltrap_studies.llm.distillation.registry import Distillation
from recalltrap_studies.llm.fingerprints import (
    architecture_identity,
    corpus_identity,
    model_identity,
    prompts_identity,
    rows_identity,
)
from recalltrap_studies.llm.models.architectures import is_size
from recalltrap_studies.llm.rewards import values
from recalltrap_studies.llm.settings import LlmSettings, algorithm_of, distillation_of
from recalltrap_studies.llm.stage_settings import (
    DRAWN_PAIRS,
    HELD_OUT,
    PART,
    SCORER_PLACES,
    Evaluate,
    Pretrain,
    Prompt,
    Reward,
    Sft,
    Target,
)
from recalltrap_studies.llm.stage_settings import ORACLE as PAPERS
from recalltrap_studies.llm.stages.registry import (
    ALIGN,
    ASSESS,
    DISTILL,
    LOAD,
    ORACLE,
    PRETRAIN,
    SAMPLE,
    SFT,
    TARGET,
    TRUTH,
    Stage,
    Training,
)


def root_stage(settings: LlmSettings) -> Stage:
    """What makes p*: it is trained here where it's a size of ours, and loaded otherwise."""
    return PRETRAIN if settings.p_star is not None and is_size(settings.p_star) else LOAD


@dataclass(frozen=True)
class Judge:
    """A reward or a scorer: what the configurations of what it judges say of it, and the nodes that
    they are made from."""

    config: Mapping[str, Any]
    parents: Mapping[str, Node]


class Graph:
    """The nodes of one seed under one group of settings."""

    def __init__(self, settings: LlmSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.p_star = _p_star(settings)
        self.truth = self._truth()
        self.p_prime = self._p_prime()
        self.reward = self._oracle() if settings.reward == PAPERS else self._own_reward()

    def _oracle(self) -> Judge:
        """The paper's reward: p_target, and the threshold that its samples set."""
        settings = self.settings
        # p_target never learns the very samples that p'' learns, also where tau is the same
        p_target = self._student(
            TARGET,
            part_config(settings, Target),
            self.p_prime,
            settings.target_temperature,
            learner="p_target",
        )
        oracle = ORACLE.node(self.seed, asking(settings, Reward), p_target=p_target)
        return Judge({}, {"p_target": p_target, "oracle": oracle})

    def _own_reward(self) -> Judge:
        """Another reward than the oracle."""
        settings, place = self.settings, values.REWARD
        label, sigmoid = settings.reward_label, settings.reward_sigmoid
        return _judge(place, values.REWARD, settings.reward, (settings.reward, label), sigmoid)

    def _truth(self) -> Node:
        """What overall recall is of: a file's rows, or samples of p*."""
        settings = self.settings
        if settings.truth is not None:
            return TRUTH.node(0, {"truth": rows_identity(settings.truth)}, model=self.p_star)
        sizes = {"samples": settings.evaluation_samples, "heldout_samples": 0}
        return self.sample(self.p_star, 1.0, **sizes, **asked(settings, judged=True))

    def _p_prime(self) -> Node:
        settings = self.settings
        if settings.p_prime_weights == "new":
            return self._student(SFT, part_config(settings, Sft), self.p_star, 1.0)
        if settings.p_star is None:  # p' judges precision itself
            return self.p_star
        return _loaded("p_prime", settings.p_prime)

    def sample(self, model: Node, temperature: float, **extra: Any) -> Node:
        """Sequences of a model; what differs in its configuration is drawn with other numbers."""
        settings = self.settings
        config = {
            "samples": settings.training_samples,
            "heldout_samples": settings.heldout_samples,
            "sample_tokens": settings.sample_tokens,
            **asked(settings),
            "engine": settings.engine,
            "temperature": temperature,
            **extra,
        }
        return SAMPLE.node(self.seed, config, model=model)

    def _student(
        self,
        stage: Training,
        config: dict[str, Any],
        teacher: Node,
        temperature: float,
        version: int | None = None,
        start: Node | None = None,
        beside: Mapping[str, Node] | None = None,
        **extra: Any,
    ) -> Node:
        """A training on the teacher's samples, of the stage's architecture or of a model that is
        there; `beside` are further parents, `extra` as `sample`."""
        spec = config.pop(stage.architecture)
        samples = self.sample(teacher, temperature, **extra)
        parents = {"samples": samples, "teacher": teacher, **(beside or {})}
        if start is None:
            config["architecture"] = architecture_identity(spec)
        else:
            parents["start"] = start
        return stage.node(self.seed, config, version, **parents)

    def distill(self, teacher: Node, aligned: bool) -> Node:
        """A student of a teacher by the settings' distillation. Of p' it may be given."""
        if teacher is self.p_prime and self.settings.p_second is not None:
            return _loaded("p_second", self.settings.p_second)
        return self.distill_by(teacher, aligned, self.settings.distillation)

    def distill_by(self, teacher: Node, aligned: bool, name: str) -> Node:
        """A student of a teacher by one of the distillations, from samples at temperature tau: the
        last distillation's own where the teacher, or a teacher before it, has been aligned."""
        record = distillation_of(self.settings, name)
        if record.after_align:
            return self._hand_over(record, teacher, aligned)
        return self._distilled(record, teacher, aligned, self._start(aligned))

    def _distilled(
        self,
        record: Distillation,
        teacher: Node,
        aligned: bool,
        start: Node | None,
        beside: Mapping[str, Node] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Node:
        """A distillation of a record's own; `beside` are further parents, `more` what its
        configuration says of them."""
        settings = self.settings
        temperature = settings.last_distill_temperature
        if temperature is None or not aligned:
            temperature = settings.distill_temperature
        config = {**record.config(settings), **(more or {})}
        if start is not self.p_prime:  # whose layers alone students keep some of
            config.pop("student_layers", None)
        if record.padded:
            config.pop("packing", None)
        return self._student(
            DISTILL, config, teacher, temperature, record.version, start, beside=beside
        )

    def _hand_over(self, record: Distillation, teacher: Node, aligned: bool) -> Node:
        """A distillation of an aligned teacher that learns its preferences, or what its alignment
        changed; of a composition the one after the other."""
        if self.settings.batch_size % 2:
            raise InputError(
                f"settings.batch_size = {self.settings.batch_size} is odd, and half of what "
                f"{{distill: {record.name}}} learns from at once are better responses: make it even"
            )
        before = teacher.parents.get("reference", self.p_prime)
        start = self.distill(before, aligned=False) if record.goes_on else self._start(aligned)
        for name in record.composed_of or (record.name,):
            part = distillation_of(self.settings, name)
            beside = {"reference": before, **self._pairs(before)}
            if part.states:
                assert start is not None, "who draws the states"
                half = {"samples": self.settings.training_samples // 2, "heldout_samples": 0}
                beside["states"] = self.sample(start, 1.0, **half)
            more = {**asked(self.settings), **self.reward.config}
            made = self._distilled(part, teacher, aligned, start, beside, with_preferences(more))
            start = made
        return made

    def _pairs(self, before: Node) -> dict[str, Node]:
        """Responses of the model that an aligned one comes from, and what labels them; none where
        a file has preferences."""
        if self.settings.preferences is not None:
            return {}
        return {"pairs": self.sample(before, 1.0), **self.reward.parents}

    def _start(self, aligned: bool) -> Node | None:
        """What students are before they learn, of an `aligned` teacher or of p'; None where they
        are drawn anew."""
        settings = self.settings
        if aligned and settings.last_distill_start == "p_second":
            return self.distill(self.p_prime, aligned=False)
        if settings.student_weights == "given":
            return _loaded("student", settings.student)
        # Of p' whoever the teacher is: both orderings' students begin as the same model.
        return self.p_prime if settings.student_weights == "layers" else None

    def align(self, start: Node, reference: Node, student: bool) -> Node:
        """An alignment of `start`, anchored to `reference`, at the learning rate of its size. Of
        p' it may be given."""
        settings, record = self.settings, algorithm_of(self.settings)
        if start is self.p_prime and settings.p_prime_aligned is not None:
            return _loaded("p_prime_aligned", settings.p_prime_aligned)
        rate = settings.alignment_rate(settings.align_learning_rate, student)
        config = {**asking(settings, record.part), "align_learning_rate": rate}
        return ALIGN.node(
            self.seed,
            {**with_preferences(config), **self.reward.config},
            record.version,
            start=start,
            reference=reference,
            **self.reward.parents,
        )

    def assess(self, model: Node) -> Node:
        """What judges a model, once for all cells."""
        settings, judges = self.settings, [self.reward, *self._scorers()]
        config = asking(settings, Evaluate, judged=True)
        config.pop("truth", None)  # the parent's
        parents: dict[str, Node] = {}
        for judge in judges:
            config |= judge.config
            parents |= judge.parents
        if settings.reward != PAPERS:  # whose node says it
            config["align_tokens"] = settings.align_tokens
        parents = {"model": model, "truth": self.truth, "p_star": self.p_star, **parents}
        return ASSESS.node(self.seed, config, None, **parents)

    def _scorers(self) -> list[Judge]:
        """What models are judged by besides."""
        return [
            _judge(place, values.SCORERS, spec, values.labelled(spec))
            for place, spec in zip(SCORER_PLACES, self.settings.scorers, strict=False)
        ]

    def models(self, ordering: Ordering) -> dict[str, Node]:
        """p', p'' and the final model, whatever the ordering; p'_AK where there is one."""
        return walk(ordering, self.p_prime, self.distill, self.align, self.distill_by)


def asked(settings: Prompt, *, judged: bool = False) -> dict[str, Any]:
    """What a stage's configuration says of its prompts: the one, or the file by its content, the
    share that is held out, and, where models are `judged`, that these are asked."""
    if settings.prompts is None:
        return {"prompt": settings.prompt}
    held_out = {PART: HELD_OUT} if judged else {}
    share = settings.prompt_holdout
    return {"prompts": prompts_identity(settings.prompts), "prompt_holdout": share, **held_out}


def asking(settings: Prompt, part: type[Prompt], *, judged: bool = False) -> dict[str, Any]:
    """The configuration of a part that asks prompts; see `asked`."""
    config = part_config(settings, part)
    rest = {name: value for name, value in config.items() if name not in Prompt.model_fields}
    return {**rest, **asked(settings, judged=judged)}


def with_preferences(config: dict[str, Any]) -> dict[str, Any]:
    """An alignment's configuration with its file of preferences by content, where it has one, and
    then without what pairs are drawn by."""
    if "preferences" not in config:
        return config
    file = rows_identity(config["preferences"])
    kept = {name: value for name, value in config.items() if name not in DRAWN_PAIRS}
    return {**kept, "preferences": file}


def _judge(
    place: str, field: str, spec: str, source: tuple[str, str | None], sigmoid: bool = False
) -> Judge:
    """A function by its name, or a classifier, whose `source` is (folder or hub id, label)."""
    if values.sort_of(spec) == "function":
        return Judge(values.function_config(place, spec), {})
    model, label = source
    parents = {place: _loaded(field, model)}
    return Judge(values.classifier_config(place, label, sigmoid), parents)


def _p_star(settings: LlmSettings) -> Node:
    if settings.p_star is None:
        return _loaded("p_prime", settings.p_prime)
    if root_stage(settings) is LOAD:
        return _loaded("p_star", settings.p_star)
    corpus = corpus_identity(settings.corpus)
    return PRETRAIN.node(0, {**part_config(settings, Pretrain), "corpus": corpus})


def _loaded(field: str, spec: str) -> Node:
    """A model that is taken as it is, by the setting that names it."""
    return LOAD.node(0, {field: model_identity(spec)})
