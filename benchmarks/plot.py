"""How cost grows, drawn: an SVG that is the same, byte for byte, for the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from . import rows
from .rows import RateRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves: TypeAlias = Mapping[str, Mapping[str, float]]
"""CPU microseconds for a message there and back, by row and by variant."""

# Told apart also without their colours; all stand out from white and from black.
_STYLES: dict[str, dict[str, Any]] = {
    "conduit": {"color": "#d1495b", "marker": "o"},
    "streams": {"color": "#3a7ca5", "marker": "s"},
    "protocol": {"color": "#7a8b3c", "marker": "^"},
}
_INK = "#7d7d7d"
"""Grey that can be read on white and on black: the picture has no background of its own."""

_SETTINGS: Any = {
    "svg.hashsalt": "conduit",
    "svg.fonttype": "path",
    "font.size": 10,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK
    ),
}


def draw(curves: Curves, file: Path) -> None:
    """Draw all that was measured of growth into an SVG file."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        _panel(left, curves, rows.GROWTH_BY_CONNECTIONS, rows.CONNECTIONS)
        left.set_xlabel("connections that talk at once, 64 bytes each")
        left.set_ylabel("CPU microseconds, there and back")
        _panel(right, curves, rows.GROWTH_BY_SIZE, [*rows.SIZES.values()])
        right.set_xlabel("bytes in a message, over one connection")
        right.set_xticks([*rows.SIZES.values()], [*rows.SIZES])
        right.minorticks_off()
        left.legend(frameon=False, labelcolor=_INK)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})


def _panel(
    axes: Axes, curves: Curves, measured: Sequence[RateRow], positions: Sequence[int]
) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(visible=True, which="major", color=_INK, alpha=0.25)
    for peer, style in _STYLES.items():
        points = [
            (position, curves[row.name][f"{peer}/uvloop"])
            for row, position in zip(measured, positions, strict=True)
            if f"{peer}/uvloop" in curves.get(row.name, {})
        ]
        label = {"conduit": "Conduit", "streams": "asyncio streams", "protocol": "bare Protocol"}
        if points:
            axes.plot(*zip(*points, strict=True), label=label[peer], **style)
