"""Axes that measure and draw the ticks of an axis all at once.

matplotlib makes five artists of every tick, and lays each one's text out anew whenever it measures
or draws it. Panels of these axes look the same. They have ticks and labels on the left and at the
bottom alone, and one look for all labels of an axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis, YAxis
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_rgba
from matplotlib.markers import TICKDOWN, TICKLEFT, MarkerStyle
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Affine2D, Bbox, IdentityTransform

Array = npt.NDArray[np.float64]

_MEASURED: WeakKeyDictionary[RendererBase, dict[tuple[Any, ...], Array]] = WeakKeyDictionary()
"""Corners of labels whose anchor is the origin, shape [2, 2]; the panels of a figure share most."""


@dataclass(frozen=True)
class _Look:
    """How the major or the minor ticks look; in points, `reach` is how long a mark is."""

    marked: bool
    labelled: bool
    gridded: bool
    reach: float
    width: float
    pad: float
    colour: Any
    text: dict[str, Any]
    grid: dict[str, Any]


@dataclass(frozen=True)
class _Ticks:
    """The major or the minor ticks in sight; places on the page have shape [T, 2], in dots."""

    foot_T2: Array
    head_T2: Array
    """The other end of the grid lines."""
    anchor_T2: Array
    """Where the labels are anchored."""
    labels: Sequence[str]
    look: _Look


class _LightAxis(Axis):
    """Ticks, labels and grid lines without an artist for each."""

    # Whatever goes through an axis' ticks finds none, and makes none.
    majorTicks: ClassVar[list[Any]] = []  # type: ignore[misc]
    minorTicks: ClassVar[list[Any]] = []  # type: ignore[misc]
    axis_name: ClassVar[str]
    side: ClassVar[str]
    outward_2: ClassVar[Array]
    """From the panel to the labels."""
    mark: ClassVar[Any]
    text: ClassVar[dict[str, Any]]

    def __init__(self, *positional: Any, **options: Any) -> None:
        self._label_look: dict[str, Any] = {}
        super().__init__(*positional, **options)

    def get_major_ticks(self, numticks: int | None = None) -> list[Any]:
        return []

    def get_minor_ticks(self, numticks: int | None = None) -> list[Any]:
        return []

    def get_majorticklabels(self) -> list[Text]:
        """A text for each label, for whoever reads them: changing one changes nothing."""
        return [Text(text=label) for ticks in self._ticks()[:1] for label in ticks.labels]

    def set_ticklabels(
        self, labels: Any, *, minor: bool = False, fontdict: Any = None, **look: Any
    ) -> list[Text]:
        """As matplotlib has it, but nothing that could be changed comes back."""
        self._label_look = {**(fontdict or {}), **look}
        super().set_ticklabels(labels, minor=minor)
        return []

    def get_tightbbox(self, renderer: Any = None, *, for_layout_only: bool = False) -> Bbox | None:
        """What the axis takes up with its labels; see matplotlib's."""
        if not self.get_visible() or (for_layout_only and not self.get_in_layout()):
            return None
        canvas: Any = self.axes.figure.canvas
        renderer = renderer or canvas.get_renderer()
        boxes = list(self._boxes(renderer, self._ticks()))
        self._place_texts(boxes)
        if self.offsetText.get_visible() and self.offsetText.get_text():
            boxes.append(self.offsetText.get_window_extent(renderer))
        if self.label.get_visible() and self.label.get_text():
            box = self.label.get_window_extent(renderer)
            if for_layout_only:  # a long label shouldn't make its panel small
                ends, middle = box.get_points(), box.get_points().mean(axis=0)
                along = self.outward_2 == 0
                ends[:, along] = middle[along] + [[-0.5], [0.5]]
                box = Bbox(ends)
            boxes.append(box)
        return Bbox.union(boxes) if boxes else None

    def draw(self, renderer: RendererBase) -> None:
        if not self.get_visible():
            return
        renderer.open_group(f"{self.axis_name}axis", gid=self.get_gid())
        both = self._ticks()
        for ticks in both:
            self._draw_grid(renderer, ticks)
            self._draw_marks(renderer, ticks)
            self._draw_labels(renderer, ticks)
        if self.label.get_text() or self.offsetText.get_text():
            self._place_texts(list(self._boxes(renderer, both)))
            self.label.draw(renderer)
            self.offsetText.draw(renderer)
        renderer.close_group(f"{self.axis_name}axis")
        self.stale = False

    def _look(self, which: str) -> _Look:
        given: dict[str, Any] = self.get_tick_params(which)  # type: ignore[arg-type]
        defaults: Any = mpl.rcParams

        def value(name: str, default: str) -> Any:
            return given.get(name, defaults[f"{self.axis_name}tick.{default}"])

        colour, ink = value("color", "color"), value("labelcolor", "labelcolor")
        grid = {
            name: given.get(f"grid_{name}", defaults[f"grid.{name}"])
            for name in ("color", "alpha", "linewidth")
        }
        return _Look(
            marked=bool(given.get(self.side)),
            labelled=bool(given.get(f"label{self.side}")),
            gridded=bool(given.get("gridOn")),
            reach=value("length", f"{which}.size"),
            width=value("width", f"{which}.width"),
            pad=value("pad", f"{which}.pad"),
            colour=colour,
            text={
                **self.text,
                "fontsize": value("labelsize", "labelsize"),
                "color": colour if ink == "inherit" else ink,
                **self._label_look,
            },
            grid=grid,
        )

    def _ticks(self) -> list[_Ticks]:
        """Major and minor ticks, as far as there are any."""
        found = []
        for which, ticker in (("major", self.major), ("minor", self.minor)):
            formatter: Any = ticker.formatter
            if isinstance(ticker.locator, NullLocator):
                continue
            at_T = self.get_majorticklocs() if which == "major" else self.get_minorticklocs()
            labels = formatter.format_ticks(at_T)
            found.append(self._in_sight(np.asarray(at_T, dtype=float), labels, self._look(which)))
            if which == "major":
                self.offsetText.set_text(formatter.get_offset())
        return found

    def _in_sight(self, at_T: Array, labels: Sequence[str], look: _Look) -> _Ticks:
        scaled = self.get_transform().transform
        low, high = np.sort(scaled(np.asarray(self.get_view_interval(), dtype=float)))
        scaled_T = scaled(at_T)
        room = 1e-10 * (high - low)  # as much as matplotlib has for numbers that aren't exact
        seen_T = (scaled_T >= low - room) & (scaled_T <= high + room)
        foot_T2, head_T2 = self._ends(at_T[seen_T])
        dots = self.axes.figure.dpi / 72
        away_2 = (look.reach + look.pad) * dots * self.outward_2
        shown = [label for label, seen in zip(labels, seen_T, strict=True) if seen]
        return _Ticks(foot_T2, head_T2, foot_T2 + away_2, shown, look)

    def _ends(self, at_T: Array) -> tuple[Array, Array]:
        """Both ends of the ticks' grid lines, the one at the labels first; shape [T, 2].

        Asking for the transforms of ticks is also what puts the panel's frame in its place.
        """
        raise NotImplementedError

    def _boxes(self, renderer: RendererBase, both: Sequence[_Ticks]) -> Iterator[Bbox]:
        """What encloses the ticks, and what encloses their labels."""
        for ticks in both:
            if ticks.look.marked and len(ticks.foot_T2):
                end_T2 = ticks.foot_T2 + ticks.look.reach * self.outward_2
                yield Bbox([end_T2.min(axis=0), end_T2.max(axis=0)])
            shown = [
                corners + anchor_2
                for label, anchor_2 in zip(ticks.labels, ticks.anchor_T2, strict=True)
                if ticks.look.labelled and label
                for corners in [self._measured(renderer, label, ticks.look)]
            ]
            if shown:
                ends = np.concatenate(shown)
                yield Bbox([ends.min(axis=0), ends.max(axis=0)])

    def _measured(self, renderer: RendererBase, label: str, look: _Look) -> Array:
        known = _MEASURED.setdefault(renderer, {})
        key = (label, *look.text.items())
        if key not in known:
            text = self._text(look)
            text.set_text(label)
            known[key] = text.get_window_extent(renderer).get_points()
        return known[key]

    def _text(self, look: _Look) -> Text:
        """What draws and measures all labels, one after the other."""
        text = Text(0, 0, transform=IdentityTransform(), **look.text)
        text.set_figure(self.axes.figure)
        return text

    def _place_texts(self, boxes: Sequence[Bbox]) -> None:
        """Put the axis' label, and its exponent, where they meet none of its ticks' labels."""
        raise NotImplementedError

    def _draw_grid(self, renderer: RendererBase, ticks: _Ticks) -> None:
        if not ticks.look.gridded or not len(ticks.foot_T2):
            return
        look = ticks.look.grid
        gc = renderer.new_gc()
        gc.set_clip_rectangle(self.axes.bbox)
        gc.set_linewidth(look["linewidth"])
        gc.set_foreground(to_rgba(look["color"], look["alpha"]), isRGBA=True)
        ends = np.stack([ticks.foot_T2, ticks.head_T2], axis=1).reshape(-1, 2)
        codes = [Path.MOVETO, Path.LINETO] * len(ticks.foot_T2)
        renderer.draw_path(gc, Path(ends, codes), IdentityTransform())
        gc.restore()

    def _draw_marks(self, renderer: RendererBase, ticks: _Ticks) -> None:
        look = ticks.look
        if not look.marked or not look.reach or not len(ticks.foot_T2):
            return
        marker = MarkerStyle(self.mark)
        gc = renderer.new_gc()
        gc.set_linewidth(look.width)
        gc.set_foreground(to_rgba(look.colour), isRGBA=True)
        size = Affine2D().scale(look.reach * self.axes.figure.dpi / 72)
        places = Path(ticks.foot_T2)
        renderer.draw_markers(
            gc, marker.get_path(), marker.get_transform() + size, places, IdentityTransform()
        )
        gc.restore()

    def _draw_labels(self, renderer: RendererBase, ticks: _Ticks) -> None:
        if not ticks.look.labelled:
            return
        text = self._text(ticks.look)
        for anchor_2, label in zip(ticks.anchor_T2, ticks.labels, strict=True):
            text.set_text(label)
            text.set_position(anchor_2)
            text.draw(renderer)


class _LightXAxis(_LightAxis, XAxis):
    side = "bottom"
    outward_2 = np.array([0.0, -1.0])
    mark = TICKDOWN
    text: ClassVar[dict[str, Any]] = {"ha": "center", "va": "top"}

    def _ends(self, at_T: Array) -> tuple[Array, Array]:
        foot = self.axes.get_xaxis_transform("tick1").transform
        head = self.axes.get_xaxis_transform("tick2").transform
        return (
            foot(np.stack([at_T, np.zeros_like(at_T)], axis=1)),
            head(np.stack([at_T, np.ones_like(at_T)], axis=1)),
        )

    def _place_texts(self, boxes: Sequence[Bbox]) -> None:
        dots = self.axes.figure.dpi / 72
        low = min([self.axes.bbox.y0, *(box.y0 for box in boxes)])
        self.label.set_y(low - self.labelpad * dots)
        self.offsetText.set_y(low - self.OFFSETTEXTPAD * dots)


class _LightYAxis(_LightAxis, YAxis):
    side = "left"
    outward_2 = np.array([-1.0, 0.0])
    mark = TICKLEFT
    text: ClassVar[dict[str, Any]] = {"ha": "right", "va": "center_baseline"}

    def _ends(self, at_T: Array) -> tuple[Array, Array]:
        foot = self.axes.get_yaxis_transform("tick1").transform
        head = self.axes.get_yaxis_transform("tick2").transform
        return (
            foot(np.stack([np.zeros_like(at_T), at_T], axis=1)),
            head(np.stack([np.ones_like(at_T), at_T], axis=1)),
        )

    def _place_texts(self, boxes: Sequence[Bbox]) -> None:
        dots = self.axes.figure.dpi / 72
        low = min([self.axes.bbox.x0, *(box.x0 for box in boxes)])
        self.label.set_x(low - self.labelpad * dots)
        self.offsetText.set_y(self.axes.bbox.ymax + self.OFFSETTEXTPAD * dots)


class LightAxes(Axes):
    """Axes as `Figure.subplots` makes them, with the light kind of axis."""

    def _init_axis(self) -> None:
        # no spine knows its axis: to say how large it is, it would look for the axis' ticks
        self.xaxis = _LightXAxis(self, clear=False)
        self.yaxis = _LightYAxis(self, clear=False)
