"""A run drawn: what `metrics.jsonl` says, as one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.config import RECALLS
from trainer.run import HELD_OUT
from trainer.whole import whole_file, written_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    Lines = Sequence[Mapping[str, float]]

INK, PALE, ACCENT = "#1f2933", "#c8ced6", "#b0413e"
BLUES = ("#1b4965", "#3f88b5", "#8fbfdc")
SANDS = ("#7a4a12", "#c98a3c", "#e8c48f")
STYLE: Any = {  # keys are names that matplotlib knows
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#eceff3",
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
FEW = 20  # logs, each of which is marked
SMOOTHED_FROM = 40  # logs; fewer are drawn as they are
WINDOW = 20  # of them, the smoothed curve is a mean of


def draw(metrics: Lines, path: Path, *, title: str, best: int | None = None) -> None:
    """Draw a run: loss, rate, temperature, masked negatives; and recall, where it was measured.

    Args:
        metrics: lines of `metrics.jsonl`.
        path: of the PNG; it is there whole or not at all.
        title: above it all.
        best: the step to mark.

    Raises:
        TrainingError: it can't be written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    measured = any(name.startswith(HELD_OUT) for line in metrics for name in line)
    with rc_context(STYLE):
        rows, height = (3, 7.5) if measured else (2, 5.2)
        figure = Figure(figsize=(10, height), dpi=110)
        FigureCanvasAgg(figure)
        marked = "" if best is None else f" (dashed: the best, step {best:,})"
        figure.suptitle(
            title + marked, x=0.01, y=1 - 0.08 / height, ha="left", fontsize=11, fontweight="bold"
        )
        figure.supxlabel("step", y=0.08 / height, fontsize=9)
        # by hand: finding out what fits would take as long as drawing
        grid = figure.add_gridspec(
            rows, 2, left=0.065, right=0.955, top=1 - 0.62 / height, bottom=0.55 / height,
            hspace=0.32, wspace=0.22,
        )  # fmt: skip
        _loss(figure.add_subplot(grid[0, 0]), metrics)
        _accuracy(figure.add_subplot(grid[0, 1]), metrics)
        _rate_and_temperature(figure.add_subplot(grid[1, 0]), metrics)
        _masked(figure.add_subplot(grid[1, 1]), metrics)
        if measured:
            _recall(figure.add_subplot(grid[2, 0]), metrics, "q2d", "query → document", BLUES)
            _recall(figure.add_subplot(grid[2, 1]), metrics, "d2q", "document → query", SANDS)
        for axes in figure.axes:
            axes.set_xlim(0, max([1.0, *(line["step"] for line in metrics)]))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True))
            axes.tick_params(length=0)
            if best is not None:
                axes.axvline(best, color=ACCENT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2.1)
        with written_in(path.parent), whole_file(path) as unfinished:
            figure.savefig(unfinished, format="png", metadata={"Software": None})


def series(metrics: Lines, name: str) -> tuple[list[float], list[float]]:
    """Where something was measured, and what.

    >>> series([{"step": 1, "loss": 3.0}, {"step": 1, "x": 1.0}, {"step": 2, "loss": 2.0}], "loss")
    ([1, 2], [3.0, 2.0])
    """
    found = [(line["step"], line[name]) for line in metrics if name in line]
    return [step for step, _ in found], [value for _, value in found]


def smoothed(values: Sequence[float], window: int = WINDOW) -> list[float]:
    """The mean of each value with those around it, fewer towards the ends.

    >>> smoothed([0.0, 3.0, 6.0, 3.0], window=2)
    [1.5, 3.0, 4.0, 4.5]
    """
    half = window // 2
    found = []
    for place in range(len(values)):
        near = values[max(0, place - half) : place + half + 1]
        found.append(sum(near) / len(near))
    return found


def _curve(axes: Axes, metrics: Lines, name: str, color: str, label: str | None = None) -> None:
    """One measure; where there is much of it, pale, and smoothed above that."""
    steps, values = series(metrics, name)
    if len(values) >= SMOOTHED_FROM:
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        values = smoothed(values)
    marker = "." if len(values) < FEW else ""
    axes.plot(steps, values, color=color, label=label, marker=marker)


def _from_zero(axes: Axes) -> None:
    """Show the axis from 0, with some room above."""
    highest = float(axes.dataLim.ymax)  # −∞ where nothing is drawn
    axes.set_ylim(0, 1.05 * highest if 0 < highest < float("inf") else 1)


def _legend(axes: Axes, columns: int) -> None:
    """Beside the title, where no curve comes."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=columns, borderpad=0,
        handlelength=1.1, handletextpad=0.5, columnspacing=0.9, borderaxespad=0.2,
    )  # fmt: skip


def _loss(axes: Axes, metrics: Lines) -> None:
    axes.set_title("loss")
    _curve(axes, metrics, "loss", BLUES[0])
    _from_zero(axes)


def _accuracy(axes: Axes, metrics: Lines) -> None:
    axes.set_title("queries that find their document in the batch, %")
    _percent(axes, metrics, "accuracy", BLUES[0])
    axes.set_ylim(0, 103)


def _rate_and_temperature(axes: Axes, metrics: Lines) -> None:
    axes.set_title("learning rate", color=BLUES[0])
    axes.plot(*series(metrics, "learning_rate"), color=BLUES[0])
    axes.yaxis.set_major_formatter("{x:g}")
    _from_zero(axes)
    other = axes.twinx()
    other.set_title("temperature", color=SANDS[1], loc="right")
    other.plot(*series(metrics, "temperature"), color=SANDS[1])
    other.grid(visible=False)


def _masked(axes: Axes, metrics: Lines) -> None:
    axes.set_title("negatives left out, %")
    _percent(axes, metrics, "masked_by_similarity", BLUES[0], "too similar")
    _percent(axes, metrics, "masked_by_identity", SANDS[1], "known to be right")
    _from_zero(axes)
    _legend(axes, 2)


def _percent(axes: Axes, metrics: Lines, name: str, color: str, label: str | None = None) -> None:
    in_percent = [{**line, name: 100 * line[name]} for line in metrics if name in line]
    _curve(axes, in_percent, name, color, label)


def _recall(axes: Axes, metrics: Lines, way: str, title: str, colors: Sequence[str]) -> None:
    axes.set_title(f"held out, {title}, %")
    for k, color in zip(RECALLS, colors, strict=True):
        steps, values = series(metrics, f"{HELD_OUT}r@{k}_{way}")
        percent = [100 * value for value in values]
        axes.plot(
            steps, percent, color=color, marker="o", markersize=3, label=f"R@{k}", clip_on=False
        )
        if percent:
            axes.annotate(
                f"{percent[-1]:.1f}", (steps[-1], percent[-1]), xytext=(6, 0),
                textcoords="offset points", va="center", fontsize=8, color=color,
            )  # fmt: skip
    axes.set_ylim(0, 103)
    _legend(axes, len(RECALLS))
