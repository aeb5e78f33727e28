"""The people whom demos and tests know by name.

They live in every generated world, whatever its seed, with the same e-mails and order ids; only
their dates move, so that what is true of them today is true of them tomorrow.
"""

from dataclasses import dataclass

from mocks.shapes import Tier

ANGRY = "angry"
POLITE = "polite"
VIP = "vip"
RETURNER = "returner"
CONFUSED = "confused"


@dataclass(frozen=True)
class CastMember:
    """One well-known customer and the orders that make their story."""

    customer_id: str
    first_name: str
    last_name: str
    email: str
    tier: Tier
    order_ids: tuple[str, ...]
    story: str


CAST: dict[str, CastMember] = {
    ANGRY: CastMember(
        customer_id="dagny_okafor_7001",
        first_name="Dagny",
        last_name="Okafor",
        email="dagny.okafor@example.com",
        tier="standard",
        order_ids=("#W7000101",),
        story="#W7000101 is shipped, its parcel is delayed: promised four days ago, now expected "
        "in two days. She asked about it two days ago already (a closed issue).",
    ),
    POLITE: CastMember(
        customer_id="tobias_wren_7002",
        first_name="Tobias",
        last_name="Wren",
        email="tobias.wren@example.com",
        tier="silver",
        order_ids=("#W7000201",),
        story="#W7000201 is shipped, its parcel is in transit and on time, expected in two days.",
    ),
    VIP: CastMember(
        customer_id="ines_valcourt_7003",
        first_name="Ines",
        last_name="Valcourt",
        email="ines.valcourt@example.com",
        tier="vip",
        order_ids=("#W7000301", "#W7000302"),
        story="#W7000301 was delivered six days ago and charged twice: two settled payments of "
        "the whole total to one card. #W7000302 is an older delivered order, charged once.",
    ),
    RETURNER: CastMember(
        customer_id="jonah_petrak_7004",
        first_name="Jonah",
        last_name="Petrak",
        email="jonah.petrak@example.com",
        tier="gold",
        order_ids=("#W7000401",),
        story="#W7000401, two items, was delivered three days ago; he may return or exchange it.",
    ),
    CONFUSED: CastMember(
        customer_id="maribel_soto_7005",
        first_name="Maribel",
        last_name="Soto",
        email="maribel.soto@example.com",
        tier="standard",
        order_ids=("#W7000501", "#W7000502"),
        story="#W7000501 is pending and may be changed or cancelled; #W7000502 is shipped and its "
        "parcel is delayed: promised two days ago, now expected in three days.",
    ),
}
