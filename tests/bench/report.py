"""Figures as a table for people and as JSON for machines."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.chains import Visit

RESULTS = Path(__file__).parent / "results"
#: Those that the others are compared with.
YARDSTICKS = ("faststream", "nats-py", "nats-py-dedup")

Figure = Callable[[Visit], float]

FIGURES: dict[str, Figure] = {
    "alone_p50_ms": lambda visit: visit.alone.p50_ms,
    "alone_p99_ms": lambda visit: visit.alone.p99_ms,
    "per_second": lambda visit: visit.many.per_second,
    "worker_cpu_us_per_hop": lambda visit: visit.many.worker_cpu_us_per_hop,
    "server_cpu_us_per_hop": lambda visit: visit.many.server_cpu_us_per_hop,
    "worker_peak_mb": lambda visit: visit.many.worker_peak_mb,
}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, smallest and largest, to a sensible number of digits."""
    return {
        name: float(f"{value:.4g}")
        for name, value in (
            ("median", statistics.median(values)),
            ("min", min(values)),
            ("max", max(values)),
        )
    }


def summary(visits: Sequence[Visit]) -> dict[str, Any]:
    """Return the figures of a contestant over all rounds."""
    figures: dict[str, Any] = {
        name: spread([figure(visit) for visit in visits]) for name, figure in FIGURES.items()
    }
    return figures | {
        "in_order": all(visit.alone.in_order and visit.many.in_order for visit in visits)
    }


def ratios(visits: Mapping[str, Sequence[Visit]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return how all compare with each yardstick: the median of the rounds' own ratios.

    Within a round the noise of the machine was about the same. Throughput above 1 and latency
    below 1 is better.
    """
    return {
        yardstick: {
            name: {
                of: spread(
                    [
                        FIGURES[of](visit) / FIGURES[of](other)
                        for visit, other in zip(seen, visits[yardstick], strict=True)
                    ]
                )["median"]
                for of in ("per_second", "alone_p50_ms", "alone_p99_ms")
            }
            for name, seen in visits.items()
        }
        for yardstick in YARDSTICKS
        if yardstick in visits
    }


def chains_report(
    visits: Mapping[str, Sequence[Visit]], refused: Mapping[str, str], says: Mapping[str, str]
) -> dict[str, Any]:
    """Return all that the chain comparison has found."""
    return {
        "contestants": {
            name: {
                "is": says[name],
                **summary(seen),
                "visits": [asdict(visit) for visit in seen],
            }
            for name, seen in visits.items()
        },
        "refused": dict(refused),
        "ratios": ratios(visits),
    }


def show_chains(report: Mapping[str, Any]) -> None:
    """Print the table of the chain comparison and the one of its ratios."""
    names = {"alone_p50_ms": "p50 ms", "alone_p99_ms": "p99 ms", "per_second": "a second"}
    names |= {"worker_cpu_us_per_hop": "µs a hop", "server_cpu_us_per_hop": "server µs"}
    names |= {"worker_peak_mb": "peak MB"}
    rows = [["", *names.values(), "in order"]]
    for name, figures in report["contestants"].items():
        row = [name]
        for key in names:
            value = figures[key]
            row.append(f"{value['median']:,.4g}".replace("e+03", "000"))
        rows.append([*row, "yes" if figures["in_order"] else "no"])
    print_table("medians: one in flight, then 1,000 in flight", rows)
    for name, reason in report["refused"].items():
        print(f"{name}: {reason}")
    for yardstick, against in report["ratios"].items():
        rows = [["", "throughput", "p50", "p99"]]
        for name, ratio in against.items():
            rows.append([name, *(f"{value:.2f}" for value in ratio.values())])
        print_table(f"ratios to {yardstick}", rows)


def print_table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns: names to the left, figures to the right."""
    columns = max(len(row) for row in rows)
    widths = [
        max(len(row[column]) for row in rows if len(row) == columns) for column in range(columns)
    ]
    widths[0] = max(len(row[0]) for row in rows)
    print(f"\n{title}")
    for row in rows:
        first, *rest = row
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=False)]
        print("  ".join([first.ljust(widths[0]), *cells]))


def write(name: str, command: str, report: Mapping[str, Any]) -> Path:
    """Write a report as JSON, with command, date and machine; return the file's path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    about = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}",
    }
    path.write_text(json.dumps(about | dict(report), indent=2) + "\n")
    return path
