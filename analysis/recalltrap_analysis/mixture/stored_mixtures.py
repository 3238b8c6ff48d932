"""Mixtures in the plane, as the store holds them, and the ground truth that their study has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
from pydantic import BaseModel

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.registry import find_kind
from recalltrap_analysis.figures.contours import Mixture
from recalltrap_analysis.runs.protocol import ArtifactReader


class PlaneKind(Protocol):
    """A kind whose models are densities in the plane."""

    settings: type[BaseModel]

    def ground_truth(self, settings: BaseModel, /) -> Mapping[str, npt.NDArray[np.float64]]:
        """p*: `logits` [K], `means` [K, 2], `cholesky` [K, 3]; the targets' centres `targets`
        [T, 2]."""
        ...


def ground_truth(kind: str, settings: Mapping[str, Any]) -> Mapping[str, npt.NDArray[np.float64]]:
    """p* and the targets under these settings.

    Raises:
        InputError: no such kind is installed.
        ValueError: the settings are not the kind's.
    """
    found = cast(PlaneKind, find_kind(kind))
    return found.ground_truth(found.settings.model_validate(dict(settings)))


def load_mixture(title: str, node: Node, store: ArtifactReader) -> Mixture:
    """One stored mixture.

    Raises:
        InputError: it is not stored, is damaged, or is not a mixture in the plane.
    """
    if not store.has(node):
        raise InputError(f"{title} is not in the store")
    try:
        arrays = safetensors.numpy.load(store.read(node, "model.safetensors"))
    except safetensors.SafetensorError as error:
        raise InputError(f"{title} is damaged in the store ({error})") from None
    return mixture(title, arrays)


def mixture(title: str, arrays: Mapping[str, Any]) -> Mixture:
    """A mixture from `logits` [K], `means` [K, 2] and `cholesky` [K, 3].

    Raises:
        InputError: the arrays are not those of a mixture in the plane, or not finite.
    """
    names = ("logits", "means", "cholesky")
    if not set(names) <= set(arrays) or arrays["means"].shape[-1] != 2:
        raise InputError(f"{title} is not a mixture in the plane")
    if not all(np.isfinite(np.asarray(arrays[name], dtype=float)).all() for name in names):
        raise InputError(f"{title} holds parameters that are not finite")
    logits_K = np.asarray(arrays["logits"], dtype=float)
    weights_K = np.exp(logits_K - logits_K.max())
    means_K2 = np.asarray(arrays["means"], dtype=float)
    cholesky_K3 = np.asarray(arrays["cholesky"], dtype=float)
    return Mixture(title, weights_K / weights_K.sum(), means_K2, cholesky_K3)
