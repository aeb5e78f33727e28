import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.sentiment_analyzer import analyze


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Thank you so much, that was quick!", "positive"),
        ("Not bad at all", "positive"),
        ("I love the new lamp \U0001f60d", "positive"),
        ("This is terrible service.", "negative"),
        ("I am not happy with this", "negative"),
        ("The kettle arrived broken", "negative"),
        ("Still waiting after three weeks", "negative"),
        ("nobody answers my mails :(", "negative"),
        ("Where is my order #W7000101?", "neutral"),
        ("I want to cancel my order", "neutral"),
        ("Can I return the jacket?", "neutral"),
        ("Please change my shipping address", "neutral"),
        ("hello", "neutral"),
        ("yes please", "neutral"),
        ("no, don't", "neutral"),
        ("", "neutral"),
    ],
)
def test_labels(text: str, label: str) -> None:
    assert analyze(text).label == label


@pytest.mark.parametrize(
    "text",
    [
        "Great, another delay",
        "Oh great, my package is late again",
        "Thanks for nothing",
        "Wow, nice job, still no parcel",
        "Love how you lost my order",
    ],
)
def test_praise_of_a_bad_event_is_sarcasm(text: str) -> None:
    found = analyze(text)
    assert found.label == "negative"
    assert found.complaint


@pytest.mark.parametrize(
    "text",
    ["I have an issue with tissues", "hello there", "Pursue it", "my shellfish", "consider it"],
)
def test_sue_is_not_in_issue_and_hell_not_in_hello(text: str) -> None:
    found = analyze(text)
    assert not found.escalation
    assert "anger" not in found.emotions


@pytest.mark.parametrize(
    "text",
    [
        "I will sue you",
        "Let me speak to a manager",
        "connect me with a real person",
        "I am calling my lawyer",
        "I'll report you to the BBB",
        "I will do a chargeback",
    ],
)
def test_escalation_cues(text: str) -> None:
    assert analyze(text).escalation


@pytest.mark.parametrize(
    "text", ["I do not want to complain, just asking", "I don't need to speak to a manager"]
)
def test_denied_cues_do_not_count(text: str) -> None:
    found = analyze(text)
    assert not found.complaint
    assert not found.escalation


@pytest.mark.parametrize(
    ("text", "urgency"),
    [
        ("Where is my order?", "low"),
        ("I need it for a wedding on Saturday", "medium"),
        ("This is urgent", "high"),
        ("Please answer as soon as possible", "high"),
        ("URGENT: my account was hacked, do something right now!", "critical"),
    ],
)
def test_urgency(text: str, urgency: str) -> None:
    assert analyze(text).urgency == urgency


def test_emphasis_strengthens() -> None:
    calm, loud = analyze("this is bad"), analyze("THIS IS REALLY BAD!!!")
    assert loud.score < calm.score < 0


def test_cues_say_what_it_rests_on() -> None:
    assert "unacceptable" in analyze("This is unacceptable").cues


def test_mentions_and_links_say_nothing() -> None:
    assert analyze("@terrible_shop https://x.example/awful").label == "neutral"


@given(st.text())
def test_any_text_gives_the_same_answer_twice(text: str) -> None:
    assert analyze(text) == analyze(text)


@pytest.mark.parametrize(
    "text", ["Tell me a joke", "What are your opening hours?", "how long does shipping take?"]
)
def test_a_question_is_no_complaint(text: str) -> None:
    found = analyze(text)
    assert found.label == "neutral"
    assert not found.complaint


def test_a_service_that_is_a_joke_is_one() -> None:
    assert analyze("Your service is a joke").complaint
    assert analyze("This is a complete joke!").label == "negative"
    assert analyze("How long do I have to wait, hours?").score < 0
