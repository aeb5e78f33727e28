"""The fields that several request bodies share."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from mocks.service import Body
from mocks.shapes import Address, Swap

Text = Annotated[str, Field(min_length=1, max_length=4000)]
Short = Annotated[str, Field(min_length=1, max_length=200)]
Amount = Annotated[Decimal, Field(gt=0, le=1_000_000, decimal_places=2)]


class AddressForm(Body):
    """A whole address; only the second line may be missing, and the country is ours."""

    address1: Short
    address2: Annotated[str, Field(max_length=200)] = ""
    city: Short
    state: Short
    zip: Short
    country: Short = "USA"

    def document(self) -> Address:
        """Return the address as the shop keeps it."""
        return {
            "address1": self.address1,
            "address2": self.address2,
            "city": self.city,
            "state": self.state,
            "zip": self.zip,
            "country": self.country,
        }


class SwapForm(Body):
    """One item of an order and the variant that is to take its place."""

    item_id: Short
    new_item_id: Short

    def document(self) -> Swap:
        """Return the swap as the shop keeps it."""
        return {"item_id": self.item_id, "new_item_id": self.new_item_id}
