"""Python's collector, held back where nearly everything that is made is needed to the end."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Without looking for garbage; what was made inside counts as old afterwards.

    Else the next line of Python would look through all of it. Where the collector is off already
    nothing changes.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count():  # somebody else's, who doesn't want it thawed
            gc.enable()
        else:
            gc.freeze()
            gc.enable()
            gc.unfreeze()  # to the oldest generation, where garbage is still found in time
