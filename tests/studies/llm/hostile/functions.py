"""Rewards that are installed and can't be used: what a stranger's module may do."""

from __future__ import annotations

import textwrap
from pathlib import Path

FUNCTIONS = {
    "raises": ("raise RuntimeError('boom\\nat length')", "boom"),
    "exits": ("import sys; sys.exit(7)", ""),
    "generator_exit": ("raise GeneratorExit('gone')", ""),
    "no_python": ("def f(:", ""),
    "recurses": ("def f(): f()\nf()", ""),
    "lacks_a_module": ("import no_such_module_at_all", "no_such_module_at_all"),
    "lacks_it": ("other = 1", ""),
    "is_a_number": ("reward = 3", ""),
    "takes_one": ("def reward(responses): return [0.0]", "prompts, responses"),
    "takes_three": ("def reward(a, b, c): return [0.0]", "prompts, responses"),
    "infinite": ("def reward(p, r): return [0.0]\nreward.supremum = float('inf')", "supremum"),
    "worded": ("def reward(p, r): return [0.0]\nreward.supremum = 'much'", "supremum"),
    "unmade": (
        "class reward:\n"
        "    def __init__(self): raise ValueError('not today')\n"
        "    def __call__(self, p, r): return [0.0]", "not today"),
    "wants_arguments": (
        "class reward:\n"
        "    def __init__(self, model): pass\n"
        "    def __call__(self, p, r): return [0.0]", "model"),
    "requires_a_text": ("def reward(p, r): return [0.0]\nreward.requires = 'numpy'", ""),
    "requires_a_number": ("def reward(p, r): return [0.0]\nreward.requires = 5", ""),
    "requires_none": ("def reward(p, r): return [0.0]\nreward.requires = ['nonesuch_x']", "nones"),
    "speaks": ("print('hello')\nraise ImportError('never')", "never"),
    "bad_message": ("class E(Exception):\n"
                    "    def __str__(self): raise ValueError('no words')\nraise E", ""),
}  # fmt: skip
"""Name: a module that defines `reward`, or doesn't; what its refusal says."""


def install(folder: Path) -> dict[str, str]:
    """Make all of them an installed package below a folder, as one on PYTHONPATH is.

    Returns:
        What the refusal of each says, by its name as a reward.
    """
    lines = ["[recalltrap.rewards]"]
    for name, (source, _) in FUNCTIONS.items():
        (folder / f"hostile_{name}.py").write_text(textwrap.dedent(source) + "\n")
        lines.append(f"hostile_{name} = hostile_{name}:reward")
    lines += ["hostile_nowhere = hostile_nowhere_at_all:reward", "hostile_words = not a module"]
    info = folder / "hostile_rewards-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile-rewards\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    said = {f"hostile_{name}": says for name, (_, says) in FUNCTIONS.items()}
    return {**said, "hostile_nowhere": "", "hostile_words": ""}
