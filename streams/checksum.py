"""The check digit of payment cards: pages mask by it, actors and the guardrail recognise by it."""


def luhn(number: str) -> bool:
    """Say whether the digits of `number` are as many as a card's and pass its checksum."""
    digits = [int(char) for char in number if char in "0123456789"]
    if not 13 <= len(digits) <= 19 or set(digits) <= {0, 1}:
        return False
    doubled = (2 * d - 9 * (d > 4) if i % 2 else d for i, d in enumerate(reversed(digits)))
    return sum(doubled) % 10 == 0
