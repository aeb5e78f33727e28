"""How good the rules are on texts that nobody here wrote. `pytest -s` prints the figures.

The texts are not part of the project; without them these tests are skipped. The floors are a
little below what was measured, so that a change that costs quality is seen.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from agents.entities import extract
from agents.guardrail_validator import inspect
from agents.intent_analyzer import by_rules
from agents.sentiment_analyzer import analyze

Row = dict[str, Any]


@pytest.fixture(scope="module")
def data() -> Path:
    named = os.environ.get("MESH_EVALUATION_DATA")
    if not named:
        pytest.skip("MESH_EVALUATION_DATA names no folder with evaluation data")
    folder = Path(named)
    assert folder.is_dir(), f"there is no {folder}"
    return folder


def rows(path: Path) -> list[Row]:
    if not path.exists():
        pytest.skip(f"no {path.name}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def scores(pairs: Iterable[tuple[str, str]]) -> tuple[float, float, dict[str, float]]:
    """Return accuracy, macro-F1 over the true labels, and F1 a label."""
    counted = Counter(pairs)
    total = sum(counted.values())
    right = sum(count for (true, found), count in counted.items() if true == found)
    single: dict[str, float] = {}
    for label in sorted({true for true, _ in counted}):
        true = sum(count for (one, _), count in counted.items() if one == label)
        found = sum(count for (_, one), count in counted.items() if one == label)
        single[label] = 2 * counted[label, label] / (true + found)
    return right / total, sum(single.values()) / len(single), single


def show(name: str, accuracy: float, macro: float, more: str = "") -> None:
    print(f"{name:28} accuracy {accuracy:.3f}  macro-F1 {macro:.3f}  {more}")


def test_sentiment(data: Path) -> None:
    found = [
        (row["label"], str(analyze(row["text"]).label))
        for row in rows(data / "sentiment_dev.jsonl")
    ]
    accuracy, macro, single = scores(found)
    print()
    show("sentiment", accuracy, macro, str({k: round(v, 3) for k, v in single.items()}))
    assert accuracy > 0.76
    assert macro > 0.70


def test_intents(data: Path) -> None:
    cases = rows(data / "intents_dev.jsonl")
    coarse = {row["label"]: row["label_coarse"] for row in cases}
    found = [(row, by_rules(row["text"])) for row in cases]
    print()
    for source in [*sorted({row["source"] for row in cases}), "all"]:
        chosen = [
            (row["label"], intent.name.value)
            for row, intent in found
            if source in (row["source"], "all")
        ]
        accuracy, macro, single = scores(chosen)
        alike = sum(coarse[true] == coarse.get(name, name) for true, name in chosen) / len(chosen)
        show(f"intents, {source}", accuracy, macro, f"coarse {alike:.3f}  n {len(chosen)}")
    print({label: round(score, 2) for label, score in single.items()})
    assert accuracy > 0.92
    assert macro > 0.89


def test_confidence_is_honest(data: Path) -> None:
    cases = rows(data / "intents_dev.jsonl")
    bins: dict[float, list[bool]] = {}
    for row in cases:
        intent = by_rules(row["text"])
        bins.setdefault(round(intent.confidence, 1), []).append(row["label"] == intent.name)
    error = 0.0
    print("\nconfidence: share right (count)")
    for confidence, right in sorted(bins.items()):
        share = sum(right) / len(right)
        error += abs(share - confidence) * len(right) / len(cases)
        print(f"  {confidence:.1f}: {share:.2f} ({len(right)})")
    print(f"  mean error {error:.3f}")
    assert error < 0.08


def test_order_ids_are_found(data: Path) -> None:
    right = found = true = 0
    for row in rows(data / "intents_dev.jsonl"):
        gold = {(e["start"], e["end"]) for e in row["entities"] if e["type"] == "order_id"}
        ours = {(e.start, e.end) for e in extract(row["text"]) if e.type == "order_id"}
        right, found, true = right + len(gold & ours), found + len(ours), true + len(gold)
    print(f"\norder ids: precision {right / found:.3f}, recall {right / true:.3f}")
    assert right / found > 0.98
    assert right / true > 0.97


def test_inspection(data: Path) -> None:
    pairs = []
    for row in rows(data / "guardrail_dev.jsonl"):
        findings = inspect(row["text"])
        pairs.append((row["label"], findings[0].check if findings else "safe"))
    accuracy, macro, single = scores(pairs)
    print()
    show("inspection", accuracy, macro, str({k: round(v, 3) for k, v in single.items()}))
    assert accuracy > 0.88
    assert macro > 0.87
