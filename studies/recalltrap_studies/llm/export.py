"""A language model of the store as a folder in the hub's format."""

from __future__ import annotations

from pathlib import Path

import torch

from recalltrap.graph import Node
from recalltrap.kind import ExportedModel
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.models.pretrained import SOURCE_FILE
from recalltrap_studies.llm.models.tokenizers import read_tokenizer
from recalltrap_studies.llm.models.weights import (
    CURVES_FILE,
    FACTS_FILE,
    model_files,
    read_model,
)

OURS = frozenset({CURVES_FILE, FACTS_FILE, SOURCE_FILE})
"""Files of a model artifact that no other library reads."""
USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # where this file stands
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
inputs = tokenizer("The", return_tensors="pt")  # or a prompt that it was aligned on
drawn = model.generate(**inputs, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=64)
print(tokenizer.decode(drawn[0], skip_special_tokens=True))
```

It was judged by what it draws at temperature 1 from the whole distribution, without `top_k` and
`top_p`."""


def export_model(node: Node, store: ArtifactStore, folder: Path) -> ExportedModel:
    """Write weights, configuration, generation settings and tokenizer, bit by bit as they are.

    Raises:
        InputError: the artifact is damaged, or the source of a loaded model changed.
    """
    artifact = store.open(node)
    if SOURCE_FILE in artifact.names:  # only pointed at: its weights stand where they came from
        model = read_model(store, node, torch.device("cpu"))
        for name, data in model_files(model, read_tokenizer(store, node)).items():
            (folder / name).write_bytes(data)
    else:
        for name in artifact.names:
            if name not in OURS:
                (folder / name).write_bytes(artifact.read(name))
    header = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    return ExportedModel(header, USE)
