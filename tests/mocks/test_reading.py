import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocks.reading import classify, sentences, stem, stems, summarize

# A prompt of the kind that the agents write, and what customers write; few of the texts use the
# prompt's own phrases.
LABELS = {
    "delivery_status": (
        "where a parcel is and when it arrives: where is my package, track my order, "
        "tracking number, when will it be delivered, has it shipped yet"
    ),
    "delivery_delay": (
        "a parcel that is late: my package is late, it should have arrived days ago, "
        "delayed delivery, still waiting, it has not arrived, promised date has passed"
    ),
    "order_status": (
        "how far an order is: what is the status of my order, was my order placed, is "
        "it processed, has it been confirmed, what did I order"
    ),
    "cancel_order": (
        "stop an order: cancel my order, I do not want it any more, ordered by mistake, "
        "call off the purchase"
    ),
    "modify_order": (
        "change an order that has not left: change the delivery address, change the "
        "color or size in my order, swap an item before it ships, edit my order, pay "
        "with another card"
    ),
    "return_request": (
        "send something back: I want to return this, return label, it does not fit, "
        "send it back for a refund, start a return"
    ),
    "refund_status": (
        "money that is to come back: where is my refund, when do I get my money back, "
        "refund has not arrived, how long does a refund take"
    ),
    "exchange": (
        "swap a delivered item for another variant: exchange it for a larger size, "
        "different color, replacement for a broken item, swap"
    ),
    "billing_issue": (
        "a wrong charge: I was charged twice, wrong amount, unknown charge on my card, "
        "invoice is wrong, double payment, overcharged"
    ),
    "payment_issue": (
        "paying does not work: my card was declined, payment failed, cannot pay, "
        "checkout error, payment will not go through"
    ),
    "account_access": (
        "getting into the account: cannot log in, forgot my password, reset password, "
        "account locked, sign in does not work"
    ),
    "profile_update": (
        "change personal data: update my e-mail address, new phone number, I moved, "
        "change my home address in my account, change my name"
    ),
    "product_question": (
        "questions about products: do you have this in blue, is it in stock, what "
        "material, which size, how much does it cost, is it waterproof"
    ),
    "complaint": (
        "dissatisfaction with the service: this is terrible service, I am very "
        "disappointed, unacceptable, file a complaint, worst shop ever, rude"
    ),
    "human_agent": (
        "wants a person: talk to a human, real person, speak to an agent, let me speak "
        "with your manager, representative, supervisor"
    ),
    "feedback_thanks": (
        "praise and thanks: thank you, thanks for your help, great service, you are "
        "awesome, I love it, well done"
    ),
    "other": "anything else: greetings, small talk, weather, jokes",
}

TEXTS = [
    ("Where is my package? The tracking number is 282320683040.", "delivery_status"),
    ("Can you tell me when #W7000201 gets here?", "delivery_status"),
    ("Has my parcel shipped?", "delivery_status"),
    ("I'd like to track my order", "delivery_status"),
    ("When will my stuff be delivered", "delivery_status"),
    (
        "My parcel was supposed to be here four days ago and it still hasn't arrived!",
        "delivery_delay",
    ),
    ("My delivery is late AGAIN. This was promised last Friday.", "delivery_delay"),
    ("The box is overdue by a week", "delivery_delay"),
    ("why is my shipment delayed", "delivery_delay"),
    ("What's the status of order #W1234567?", "order_status"),
    ("Did my order go through? I never saw a confirmation", "order_status"),
    ("Please cancel order #W1234567, I ordered it by mistake", "cancel_order"),
    ("i dont want it anymore, cancel", "cancel_order"),
    ("I'd like to call off my purchase from yesterday", "cancel_order"),
    ("Can I change the shipping address on my pending order?", "modify_order"),
    (
        "I want to change the colour of the lamp in my order from black to brass before it ships",
        "modify_order",
    ),
    ("Could you edit my order so that it goes to my office", "modify_order"),
    ("I want to return the trail shoes, they don't fit", "return_request"),
    ("How do I send this back?", "return_request"),
    ("I need a return label for the jacket", "return_request"),
    ("Where's my refund? I sent it back two weeks ago", "refund_status"),
    ("When will I get my money back", "refund_status"),
    ("I'd like to exchange the sweater for a size L", "exchange"),
    ("Can I swap the shoes for a different color?", "exchange"),
    ("The kettle came broken, I need a replacement", "exchange"),
    ("You charged me twice for the same order!", "billing_issue"),
    ("There are two charges on my credit card for #W7000301", "billing_issue"),
    ("the amount on my invoice is wrong", "billing_issue"),
    ("My card keeps getting declined at checkout", "payment_issue"),
    ("the payment failed and I can't pay", "payment_issue"),
    ("I forgot my password", "account_access"),
    ("I can't log into my account", "account_access"),
    ("my account is locked", "account_access"),
    ("Please update my phone number", "profile_update"),
    ("I moved, my new address is 12 Mill Race", "profile_update"),
    ("I have a new email address, can you change it", "profile_update"),
    ("Do you have the rain jacket in blue?", "product_question"),
    ("Is the headset in stock?", "product_question"),
    ("how much does the kettle cost", "product_question"),
    ("This is unacceptable, worst service ever", "complaint"),
    ("I'm really disappointed with how you treat customers", "complaint"),
    ("Let me talk to a real person", "human_agent"),
    ("I want to speak to your manager now", "human_agent"),
    ("can I chat with a human agent please", "human_agent"),
    ("Thanks so much, that was great", "feedback_thanks"),
    ("thank you for your help!", "feedback_thanks"),
    ("you're awesome, love the service", "feedback_thanks"),
    ("Tell me a joke", "other"),
    ("Hello there", "other"),
    ("xyzzy plugh", "other"),
]


def test_customers_are_understood() -> None:
    wrong = [(text, label) for text, label in TEXTS if classify(LABELS, text).intent != label]
    assert len(wrong) <= len(TEXTS) // 20, wrong


def test_the_prompt_decides_and_not_the_code() -> None:
    text = "The zorgle of my frobnicator keeps blinking"
    assert classify({"a": "blinking zorgle", "b": "silent wibble"}, text).intent == "a"
    assert classify({"a": "silent wibble", "b": "blinking zorgle"}, text).intent == "b"


def test_the_order_of_labels_does_not_matter() -> None:
    turned = dict(reversed(LABELS.items()))
    for text, _ in TEXTS:
        one, two = classify(LABELS, text), classify(turned, text)
        assert one.confidence == two.confidence
        if one.confidence > 0.5:
            assert one.intent == two.intent


def test_a_clear_text_is_surer_than_a_vague_one() -> None:
    clear = classify(LABELS, "Please cancel my order, I ordered it by mistake.")
    vague = classify(LABELS, "the account order")
    assert clear.confidence > 0.8 > vague.confidence


def test_what_fits_nothing_is_other_and_unsure() -> None:
    for text in ("xyzzy plugh", "", "12345 !!!", "\N{GRINNING FACE}"):
        verdict = classify(LABELS, text)
        assert (verdict.intent, verdict.also) == ("other", [])
        assert verdict.confidence < 0.3
    assert classify({"first": "one", "second": "two"}, "xyzzy").intent == "first"


@pytest.mark.parametrize(
    ("text", "intents"),
    [
        (
            "I want to cancel my lamp order and also my dog bed still has not arrived, it's late!",
            {"cancel_order", "delivery_delay"},
        ),
        (
            "You charged me twice for #W7000301. Besides that, I forgot my password.",
            {"billing_issue", "account_access"},
        ),
        (
            "I want to return the shoes. Where is my other parcel?",
            {"return_request", "delivery_status"},
        ),
    ],
)
def test_a_second_wish_is_heard(text: str, intents: set[str]) -> None:
    verdict = classify(LABELS, text)
    assert {verdict.intent, *verdict.also} == intents


def test_one_wish_in_many_words_is_one() -> None:
    text = "My parcel is late. It should have been delivered on Friday. It has not arrived."
    assert classify(LABELS, text).also == []


def test_what_was_said_before_helps_with_what_says_little() -> None:
    assert classify(LABELS, "And this one?").intent == "other"
    earlier = ["Please cancel order #W1234567."]
    assert classify(LABELS, "And this one?", earlier).intent == "cancel_order"
    assert classify(LABELS, "I forgot my password.", earlier).intent == "account_access"


def test_no_labels_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="labels"):
        classify({}, "hello")


@given(text=st.text(max_size=300))
def test_any_text_gets_a_verdict(text: str) -> None:
    verdict = classify(LABELS, text)
    assert verdict.intent in LABELS
    assert 0 < verdict.confidence < 1
    assert verdict.intent not in verdict.also
    assert set(verdict.also) <= set(LABELS)
    assert verdict == classify(LABELS, text)


@given(
    labels=st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=60), min_size=1),
    text=st.text(alphabet=string.ascii_lowercase + " .", max_size=80),
)
def test_any_labels_will_do(labels: dict[str, str], text: str) -> None:
    assert classify(labels, text).intent in labels


@pytest.mark.parametrize(
    "family",
    [
        "deliver delivers delivered delivering delivery deliveries",
        "cancel cancels cancelled canceled cancelling cancellation",
        "charge charges charged charging",
        "ship ships shipped shipping shipment",
        "return returns returned returning",
        "pay pays paid payment payments",
        "process processed processes processing",
        "call calls called calling",
        "size sizes sized",
        "address addresses",
    ],
)
def test_the_forms_of_a_word_have_one_stem(family: str) -> None:
    assert len({stem(word) for word in family.split()}) == 1


def test_stems_leave_out_what_says_nothing() -> None:
    assert stems("Where is my package? I haven't got it!") == ["wher", "packag", "not"]
    assert stems("I can\N{RIGHT SINGLE QUOTATION MARK}t log in") == ["not", "log"]


CONVERSATION = """Customer: Hi there. Where is my order #W7000101? It was promised on Friday.
Agent: Hello Dagny, I am sorry. Your parcel is delayed in Louisville.
Customer: I was told the same two days ago!
Agent: I can offer a credit of $10.
Customer: ok"""


def test_a_summary_is_made_of_what_was_said() -> None:
    summary = summarize(CONVERSATION, 3)
    assert "Customer: Where is my order #W7000101?" in summary
    assert "Agent: I can offer a credit of $10." in summary
    assert len(sentences(summary)) == 3
    assert summary == summarize(CONVERSATION, 3)


@given(text=st.text(max_size=300), most=st.integers(1, 6))
def test_any_text_can_be_summarized(text: str, most: int) -> None:
    assert isinstance(summarize(text, most), str)


def test_a_summary_of_nothing_is_nothing() -> None:
    assert summarize("") == ""
