"""The figures as a picture: `results/bench.svg`, from the JSON files beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.bench.chains import CONTESTANTS
from tests.bench.recovery import BY_HAND
from tests.bench.report import RESULTS, digits

OURS, OTHERS = "#0072b2", "#999999"  # told apart by the colour-blind, and in grey


def draw() -> Path:
    """Draw all that has been measured; return the picture's path."""
    # The same figures make the same file.
    mpl.rcParams["svg.hashsalt"] = "bench"
    mpl.rcParams["font.size"] = 9
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = figure.subplots(2, 3)
    chains, recovery, rebalance = (_load(name) for name in ("chains", "recovery", "rebalance"))
    if chains:
        seen = chains["contestants"]
        for axis, of, title in (
            (axes[0, 0], "per_second", "messages a second, 1,000 in flight (more is better)"),
            (axes[0, 1], "worker_cpu_us_per_hop", "CPU of the worker, µs a hop"),
            (axes[0, 2], "worker_peak_mb", "peak memory of the worker, MB"),
            (axes[1, 0], "alone_p50_ms", "seven hops, one in flight: p50 (bar), p99 (mark), ms"),
        ):
            _bars(axis, title, {name: figures[of] for name, figures in seen.items()})
        marks = [figures["alone_p99_ms"]["median"] for figures in seen.values()]
        axes[1, 0].plot(marks, range(len(marks)), "|", color="black", markersize=12)
    if recovery:
        title = "recovery of a table, records a second (more is better)"
        _bars(axes[1, 1], title, recovery["records_per_second"])
    if rebalance:
        silence = {kind: of["silence"] for kind, of in rebalance["seconds"].items()}
        _bars(axes[1, 2], "rebalance: longest silence of a partition, s", silence)
    about = chains or recovery or rebalance or {}
    figure.suptitle(f"{about.get('date', '')}, {about.get('machine', '')}", fontsize=9)
    path = RESULTS / "bench.svg"
    figure.savefig(path, metadata={"Date": None})
    return path


def _bars(axis: Any, title: str, values: Mapping[str, Mapping[str, float]]) -> None:
    """Draw medians as bars, with the spread over the rounds."""
    names = list(values)
    medians = [values[name]["median"] for name in names]
    low = [values[name]["median"] - values[name]["min"] for name in names]
    high = [values[name]["max"] - values[name]["median"] for name in names]
    axis.barh(names, medians, xerr=[low, high], color=_colours(names), ecolor="#444444")
    axis.bar_label(axis.containers[-1], [digits(value) for value in medians], padding=4)
    axis.invert_yaxis()
    axis.margins(x=0.2)
    axis.set_title(title, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)


def _colours(names: Sequence[str]) -> list[str]:
    others = {one.name for one in CONTESTANTS if not one.ours} | {BY_HAND}
    return [OTHERS if name in others else OURS for name in names]


def _load(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found
