"""Figures as tables for people and as JSON for machines."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench.chains import Comparison, Visit
from tests.bench.rebalance import Rebalance
from tests.bench.recovery import BY_HAND
from tests.bench.replay import Replaying
from tests.bench.watching import Watching

RESULTS = Path(__file__).parent / "results"
#: What else the machine had to do when we began: processes that wanted to run.
LOAD = round(os.getloadavg()[0], 1)
#: Those that the others are compared with.
YARDSTICKS = ("faststream", "faststream-bare", "nats-py", "nats-py-dedup")

FIGURES: dict[str, Callable[[Visit], float]] = {
    "alone_p50_ms": lambda visit: visit.alone.p50_ms,
    "alone_p99_ms": lambda visit: visit.alone.p99_ms,
    "per_second": lambda visit: visit.many.per_second,
    "worker_cpu_us_per_hop": lambda visit: visit.many.worker_cpu_us_per_hop,
    "server_cpu_us_per_hop": lambda visit: visit.many.server_cpu_us_per_hop,
    "worker_peak_mb": lambda visit: visit.many.worker_peak_mb,
}
COMPARED = ("per_second", "alone_p50_ms", "alone_p99_ms", "worker_cpu_us_per_hop")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, smallest and largest, to four digits."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.4g}") for name, value in found.items()}


# -- chains


def of_chains(comparison: Comparison, says: Mapping[str, str]) -> dict[str, Any]:
    """Return what the chain comparison has found.

    A ratio is the median of the rounds' own ratios: within a round the noise of the machine was
    about the same. Of throughput more than 1 is better, of all else less.
    """
    visits = comparison.visits
    return {
        "contestants": {name: {"is": says[name]} | _figures(seen) for name, seen in visits.items()},
        "refused": comparison.refused,
        "failed": comparison.failed,
        "ratios": {
            yardstick: {
                name: _ratios(seen, visits[yardstick])
                for name, seen in visits.items()
                if name != yardstick
            }
            for yardstick in YARDSTICKS
            if yardstick in visits
        },
    }


def _figures(visits: Sequence[Visit]) -> dict[str, Any]:
    return {
        **{name: spread([figure(visit) for visit in visits]) for name, figure in FIGURES.items()},
        "in_order": all(visit.alone.in_order and visit.many.in_order for visit in visits),
        "visits": [asdict(visit) for visit in visits],
    }


def _ratios(visits: Sequence[Visit], others: Sequence[Visit]) -> dict[str, dict[str, float]]:
    rounds = list(zip(visits, others, strict=True))
    return {
        of: spread([FIGURES[of](one) / FIGURES[of](two) for one, two in rounds]) for of in COMPARED
    }


def show_chains(found: Mapping[str, Any]) -> None:
    """Print the figures and the ratios of the chain comparison."""
    titles = ["p50 ms", "p99 ms", "a second", "CPU µs a hop", "server's", "peak MB", "in order"]
    rows = [["", *titles]]
    for name, figures in found["contestants"].items():
        values = [figures[figure]["median"] for figure in FIGURES]
        rows.append([name, *map(digits, values), "yes" if figures["in_order"] else "no"])
    show_table("one in flight; then 1,000 in flight (medians)", rows)
    for what in ("refused", "failed"):
        for name, reason in found[what].items():
            print(f"{name} {what}: {reason}")
    for yardstick, compared in found["ratios"].items():
        rows = [["", "throughput", "", "p50", "p99", "CPU a hop"]]
        for name, ratio in compared.items():
            most = ratio["per_second"]
            rows.append(
                [
                    name,
                    f"{most['median']:.2f}",
                    f"({most['min']:.2f} to {most['max']:.2f})",
                    *(f"{ratio[of]['median']:.2f}" for of in COMPARED[1:]),
                ]
            )
        if compared:
            show_table(f"times {yardstick}", rows)


# -- recovery


def of_recovery(rates: Mapping[str, Sequence[float]], records: int) -> dict[str, Any]:
    """Return what recovery has found, and how it compares with reading by hand."""
    return {
        "records": records,
        "records_per_second": {store: spread(values) for store, values in rates.items()},
        "ratios": {
            BY_HAND: {
                store: spread([one / two for one, two in zip(values, rates[BY_HAND], strict=True)])
                for store, values in rates.items()
                if store != BY_HAND
            }
        },
    }


def show_recovery(found: Mapping[str, Any]) -> None:
    """Print how fast a table recovers."""
    rows = [["", "records a second", f"times {BY_HAND}"]]
    for store, values in found["records_per_second"].items():
        ratio = found["ratios"][BY_HAND].get(store)
        rows.append(
            [store, f"{values['median']:,.0f}", f"{ratio['median']:.2f}" if ratio else "1.00"]
        )
    show_table(f"recovery of {found['records']:,} records", rows)


# -- rebalance


def of_rebalance(times: Mapping[str, Sequence[Rebalance]]) -> dict[str, Any]:
    """Return what rebalances took."""
    return {
        "seconds": {
            kind: {
                "all_flow": spread([one.all_flow for one in seen]),
                "silence": spread([one.silence for one in seen]),
            }
            for kind, seen in times.items()
        }
    }


def show_rebalance(found: Mapping[str, Any]) -> None:
    """Print what rebalances took."""
    rows = [["", "until all flow, s", "", "longest silence, s", ""]]
    for kind, of in found["seconds"].items():
        row = [kind]
        for values in (of["all_flow"], of["silence"]):
            row += [f"{values['median']:.2f}", f"({values['min']:.2f} to {values['max']:.2f})"]
        rows.append(row)
    show_table("rebalance (a join includes the start of the process)", rows)


# -- watching

LOOKED_AT = {
    "per_second": "turns a second",
    "worker_ms": "the worker's processor time a turn, ms",
    "web_ms": "the web process's",
    "server_ms": "nats-server's",
}


def of_watching(measured: Watching) -> dict[str, Any]:
    """Return what being looked at costs: ratios of windows with pages to those without."""
    found: dict[str, Any] = {"pages_told_per_second": spread(measured.told)}
    for name in LOOKED_AT:
        without = [getattr(window, name) for window in measured.without]
        watched = [getattr(window, name) for window in measured.watched]
        found[name] = {"without pages": spread(without), "with pages": spread(watched)}
        if all(without):  # who serves pages alone does nothing without them
            found[name] |= {
                "ratio": spread([one / two for one, two in zip(watched, without, strict=True)]),
                # Of windows that are alike: each without pages to the one before it.
                "noise": spread([later / earlier for earlier, later in pairwise(without)]),
            }
    return found


def show_watching(found: Mapping[str, Any]) -> None:
    """Print what being looked at costs."""
    told = found["pages_told_per_second"]["median"]
    print(f"\nthe open pages were told {told:.0f} things a second")
    for name, title in LOOKED_AT.items():
        rows = [["", "median", "min", "max"]]
        for what, values in found[name].items():
            rows.append([what, *(f"{values[of]:.3g}" for of in ("median", "min", "max"))])
        show_table(title, rows)


# -- replay


def of_replay(measured: Replaying) -> dict[str, Any]:
    """Return how fast a replay is: turns a second, and times as many as the mesh itself."""
    ratios = [one / two for one, two in zip(measured.replay, measured.mesh, strict=True)]
    return {
        "mesh_turns_per_second": spread(measured.mesh),
        "replay_turns_per_second": spread(measured.replay),
        "ratio": spread(ratios),
        "turns": measured.turns,
        "same": measured.same,
    }


def show_replay(found: Mapping[str, Any]) -> None:
    """Print how fast a replay is."""
    rows = [["", "median", "min", "max"]]
    for name in ("mesh_turns_per_second", "replay_turns_per_second", "ratio"):
        values = found[name]
        shown = (f"{values[of]:.3g}" for of in ("median", "min", "max"))
        rows.append([name.replace("_", " "), *shown])
    show_table("turns replayed, beside the same turns worked on by the mesh", rows)
    print(f"{found['same']} of {found['turns']} turns came out the same")


# -- all


def digits(value: float) -> str:
    """Return a figure with as many digits as one cares for."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def show_table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns: names to the left, figures to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print(f"\n{title}")
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]).rstrip())


def write(name: str, command: str, found: Mapping[str, Any]) -> None:
    """Write what was found to `results/NAME.json`, with command, date and machine."""
    about = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}",
        "load": LOAD,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(about | _short(found), indent=2) + "\n")
    print(f"\nwritten: {path}")


def _short(found: Any) -> Any:
    """Return the same with figures to five digits."""
    if isinstance(found, float):
        return float(f"{found:.5g}")
    if isinstance(found, Mapping):
        return {name: _short(value) for name, value in found.items()}
    if isinstance(found, list):
        return [_short(value) for value in found]
    return found
