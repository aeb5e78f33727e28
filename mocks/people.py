"""Who shops here: invented customers with addresses, ways to pay and a tier."""

import random
from datetime import datetime, timedelta

from mocks.cast import CastMember
from mocks.shapes import Address, Customer, PaymentMethod, Tier
from mocks.units import digits, dollars

TIERS: tuple[Tier, ...] = ("standard", "silver", "gold", "vip")
TIER_WEIGHTS = (62, 21, 12, 5)

_FIRST = (
    "Adaeze", "Alaric", "Amrit", "Anneke", "Basil", "Beatrix", "Bram", "Caspian", "Celeste",
    "Corin", "Dalia", "Desmond", "Edda", "Eero", "Elodie", "Faye", "Fergus", "Giulia", "Hana",
    "Hollis", "Ilse", "Imran", "Ingrid", "Jovan", "Juno", "Kaito", "Keziah", "Leocadia", "Linnea",
    "Lorcan", "Mahala", "Marek", "Mirela", "Nadim", "Nerys", "Odalys", "Orson", "Paloma", "Perrin",
    "Quincy", "Ramona", "Ruben", "Sanna", "Silvio", "Tamsin", "Thandi", "Ulric", "Vesna", "Wiebke",
    "Xiomara", "Yael", "Zeno",
)  # fmt: skip
_LAST = (
    "Abernethy", "Adeyemi", "Bakshi", "Bellweather", "Brandvold", "Castellan", "Crowhurst",
    "Dahlgren", "Delacroix", "Eastlake", "Ferreira", "Fjelde", "Galloway", "Grimaldi", "Hartigan",
    "Hoshino", "Ibarra", "Jessop", "Kowalczyk", "Lachance", "Lindqvist", "Mbeki", "Merriweather",
    "Nakagawa", "Northcott", "Obuya", "Pemberton", "Quesada", "Rasmussen", "Rookwood", "Sandoval",
    "Stavros", "Thackeray", "Tremblay", "Umarov", "Vandermeer", "Whitlock", "Yarrow", "Zielinski",
)  # fmt: skip
_STREETS = (
    "Alder Lane", "Birchwood Road", "Canal Street", "Dovecote Close", "Elmgate Avenue",
    "Foundry Row", "Gannet Court", "Hazel Terrace", "Kiln Street", "Lantern Way", "Mill Race",
    "Orchard Rise", "Quarry Road", "Saddler Street", "Tannery Lane", "Weaver Street",
)  # fmt: skip
_CITIES = (
    ("Asheville", "NC", "288"), ("Boise", "ID", "837"), ("Burlington", "VT", "054"),
    ("Duluth", "MN", "558"), ("El Paso", "TX", "799"), ("Eugene", "OR", "974"),
    ("Madison", "WI", "537"), ("Mobile", "AL", "366"), ("Portland", "ME", "041"),
    ("Providence", "RI", "029"), ("Pueblo", "CO", "810"), ("Richmond", "VA", "232"),
    ("Savannah", "GA", "314"), ("Spokane", "WA", "992"), ("Toledo", "OH", "436"),
    ("Tucson", "AZ", "857"),
)  # fmt: skip


def address(rng: random.Random) -> Address:
    """Return an invented address in a real town."""
    city, state, prefix = rng.choice(_CITIES)
    return {
        "address1": f"{rng.randint(1, 980)} {rng.choice(_STREETS)}",
        "address2": f"Apt {rng.randint(1, 60)}" if rng.random() < 0.35 else "",
        "city": city,
        "state": state,
        "zip": f"{prefix}{rng.randint(1, 99):02d}",
        "country": "USA",
    }


def phone(rng: random.Random) -> str:
    """Return a telephone number of the range that is kept for fiction."""
    return f"+1-{rng.randint(201, 989)}-555-{rng.randint(100, 199):04d}"


def since(now: datetime, rng: random.Random) -> str:
    """Return the day on which somebody became a customer: before any order in the world."""
    return (now - timedelta(days=rng.randint(160, 2400))).date().isoformat()


def payment_methods(rng: random.Random) -> list[PaymentMethod]:
    """Return one to three ways to pay, the one that is used most first."""
    number = digits(7, rng.random())
    card: PaymentMethod = {
        "id": f"credit_card_{number}",
        "source": "credit_card",
        "brand": rng.choice(("visa", "mastercard", "amex")),
        "last_four": f"{rng.randint(0, 9999):04d}",
    }
    paypal: PaymentMethod = {"id": f"paypal_{number}", "source": "paypal"}
    gift: PaymentMethod = {
        "id": f"gift_card_{number}",
        "source": "gift_card",
        "balance": dollars(rng.randrange(0, 15_000)),
    }
    return rng.choice(([card], [paypal], [card, gift], [paypal, gift], [card, paypal, gift]))


def stranger(rng: random.Random, now: datetime, tier: Tier, number: int) -> Customer:
    """Return a customer whom nobody knows by name; `number` keeps ids and e-mails apart."""
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    return {
        "id": f"{first}_{last}_{number}".lower(),
        "name": {"first_name": first, "last_name": last},
        "email": f"{first}.{last}{number}@example.com".lower(),
        "phone": phone(rng),
        "tier": tier,
        "since": since(now, rng),
        "address": address(rng),
        "payment_methods": payment_methods(rng),
        "orders": [],
        "credit_balance": 0.0,
    }


def member(who: CastMember, rng: random.Random, now: datetime) -> Customer:
    """Return the customer that a member of the cast is; they all pay with one card."""
    number = who.customer_id.rsplit("_", 1)[-1]
    return {
        "id": who.customer_id,
        "name": {"first_name": who.first_name, "last_name": who.last_name},
        "email": who.email,
        "phone": phone(rng),
        "tier": who.tier,
        "since": since(now, rng),
        "address": address(rng),
        "payment_methods": [
            {
                "id": f"credit_card_{number}001",
                "source": "credit_card",
                "brand": "visa",
                "last_four": number,
            }
        ],
        "orders": [],
        "credit_balance": 0.0,
    }
