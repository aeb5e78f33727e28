"""What the shop sells: a fixed catalogue, the same on every day and for every seed.

Only people and orders vary with the seed. Fixed products let demos and prompts speak of "the
Fernhill rain jacket" and always mean something that exists.
"""

import itertools

from mocks.shapes import Product, Variant
from mocks.units import dice, digits, dollars

_MAX_VARIANTS = 12

# name, price in cents of the plainest variant, option -> values
_RANGE: tuple[tuple[str, int, dict[str, tuple[str, ...]]], ...] = (
    (
        "Fernhill Rain Jacket",
        8900,
        {"color": ("moss", "slate", "rust"), "size": ("S", "M", "L", "XL")},
    ),
    (
        "Otterbank Wool Sweater",
        7450,
        {"color": ("oat", "navy"), "size": ("S", "M", "L"), "neck": ("crew", "roll")},
    ),
    ("Larkmoor Linen Shirt", 5400, {"color": ("white", "sky", "sand"), "size": ("S", "M", "L")}),
    (
        "Tindra Trail Shoes",
        11900,
        {"size": ("38", "40", "42", "44"), "color": ("black", "teal")},
    ),
    ("Pebble House Slippers", 3200, {"size": ("38", "40", "42"), "color": ("grey", "plum")}),
    ("Brightwick Reading Lamp", 4650, {"color": ("brass", "black"), "plug": ("US", "USB-C")}),
    ("Quill & Co Lined Journal", 1850, {"size": ("A5", "A4"), "cover": ("cloth", "cork")}),
    ("Hearthstone Kettle", 6400, {"capacity": ("1 L", "1.5 L"), "color": ("cream", "graphite")}),
    ("Morrow Pour-Over Set", 4875, {"cups": ("2", "4"), "material": ("glass", "ceramic")}),
    ("Cinderpan Cast Iron Skillet", 5600, {"diameter": ("20 cm", "26 cm", "30 cm")}),
    ("Willowmere Tea Sampler", 2400, {"blend": ("black", "green", "herbal")}),
    ("Saltcrate Storage Jars", 3350, {"set": ("3 pieces", "6 pieces"), "lid": ("bamboo", "steel")}),
    (
        "Nimbus Down Pillow",
        5950,
        {"firmness": ("soft", "medium", "firm"), "size": ("standard", "king")},
    ),
    (
        "Harbour Cotton Sheets",
        9800,
        {"size": ("twin", "queen", "king"), "color": ("white", "mist", "clay")},
    ),
    ("Juniper Bath Towels", 4200, {"set": ("2 pieces", "4 pieces"), "color": ("white", "sage")}),
    (
        "Vesper Noise-Free Headset",
        14900,
        {"color": ("black", "ivory"), "connection": ("wireless", "cable")},
    ),
    ("Pocketlark Radio", 6900, {"color": ("mint", "red", "black")}),
    ("Stillwater Wall Charger", 2950, {"power": ("30 W", "65 W"), "plug": ("US", "EU")}),
    (
        "Keystride Compact Keyboard",
        10900,
        {"switches": ("quiet", "tactile"), "layout": ("ANSI", "ISO"), "color": ("grey", "black")},
    ),
    ("Glidefox Travel Mouse", 3900, {"color": ("white", "black"), "hand": ("right", "left")}),
    ("Anchorpoint Laptop Stand", 4400, {"color": ("silver", "black")}),
    (
        "Ridgeline Day Pack",
        8200,
        {"volume": ("18 L", "24 L"), "color": ("ochre", "black", "forest")},
    ),
    ("Longhaul Cabin Case", 16900, {"color": ("navy", "pearl"), "shell": ("hard", "soft")}),
    ("Drizzle Umbrella", 2700, {"color": ("black", "yellow"), "handle": ("straight", "curved")}),
    ("Summit Flask", 3100, {"capacity": ("500 ml", "750 ml"), "color": ("steel", "coral")}),
    ("Evenkeel Yoga Mat", 4800, {"thickness": ("4 mm", "6 mm"), "color": ("violet", "stone")}),
    ("Ironbird Kettlebell", 5200, {"weight": ("8 kg", "12 kg", "16 kg")}),
    ("Loamy Planter Trio", 3650, {"color": ("terracotta", "white")}),
    ("Greenthumb Pruning Shears", 2850, {"hand": ("right", "left")}),
    (
        "Acorn Wooden Blocks",
        3400,
        {"set": ("40 pieces", "80 pieces"), "finish": ("plain", "painted")},
    ),
    ("Moonharbor Jigsaw Puzzle", 2200, {"pieces": ("500", "1000", "2000")}),
    ("Biscuit Dog Bed", 6100, {"size": ("S", "M", "L"), "color": ("brown", "grey")}),
    ("Saffron Scented Candle", 1950, {"scent": ("cedar", "fig", "unscented")}),
    ("Tempora Desk Clock", 5750, {"finish": ("oak", "walnut"), "alarm": ("yes", "no")}),
    (
        "Swiftpedal Bike Helmet",
        7900,
        {"size": ("S", "M", "L"), "color": ("white", "lime", "black")},
    ),
    ("Clearbrook Water Filter", 4550, {"capacity": ("2 L", "3.5 L")}),
)


def catalogue() -> dict[str, Product]:
    """Return all products by id, freshly made, so that a caller may change its copy."""
    products: dict[str, Product] = {}
    for name, base, options in _RANGE:
        picked = dice(name)
        combinations = list(itertools.product(*options.values()))
        if len(combinations) > _MAX_VARIANTS:
            combinations = sorted(picked.sample(combinations, _MAX_VARIANTS))
        variants: list[Variant] = []
        for position, values in enumerate(combinations):
            chosen = dict(zip(options, values, strict=True))
            variants.append(
                {
                    "item_id": digits(10, name, chosen),
                    "options": chosen,
                    # The first two are always to be had: every product can be exchanged.
                    "available": position < 2 or picked.random() < 0.8,
                    "price": dollars(base + 50 * picked.randrange(0, 30)),
                }
            )
        product_id = digits(10, name)
        products[product_id] = {"id": product_id, "name": name, "variants": variants}
    return products
