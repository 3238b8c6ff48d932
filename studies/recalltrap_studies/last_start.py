"""What a student of an aligned model begins as: anew, as p'' began, or as p'' itself.

Some distillations always go on from p''. Against one whose student begins anew they differ in two
things at once, what is learned and by whom; this is the control that tells them apart.
"""

from __future__ import annotations

from typing import Literal

from recalltrap.settings_parts import Part, added_setting


class LastStart(Part):
    """Of distillations after an alignment.

    No distillation's own: what its student begins as is one of its node's parents.
    """

    last_distill_start: Literal["new", "p_second"] = added_setting(
        "new",
        description="What a student begins as in distillations after an alignment, such as A-K's "
        "last: new, as p'' began (the paper's), or p'' itself, as in `adpa` in any case (ours).",
    )


LAST_START_UNREAD = (
    "no ordering of the study distils an aligned model, other than by adpa, which always goes on "
    "from p'': nothing reads"
)
"""Why it isn't read; goes on with its name."""
