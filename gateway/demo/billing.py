"""What the demo's accounts and user are billed. The figures are made up, and always the same.

Amounts are in the currency's unit, but for credits, which the API counts in cents.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

Json = dict[str, object]

_EDITABLE: Final = frozenset(
    {
        *("first_name", "last_name", "company", "telephone", "vat", "tax_id_type"),
        *("address", "address2", "city", "state", "zipcode", "country"),
    }
)

RATE_PLANS: Final[Mapping[str, Json]] = {
    key: {
        "id": key,
        "public_name": name,
        "currency": "USD",
        "components": [{"name": "zones", "unit_price": price}],
    }
    for key, name, price in (("free", "Free", 0), ("pro", "Pro", 20), ("business", "Business", 200))
}

CREDITS: Final[Json] = {
    "eligible": True,
    "has_record": True,
    "currency": "USD",
    "original_amount_cents": 100_000,
    "confirmed_balance_cents": 75_000,
    "percent_consumed": 25.0,
    "valid_from": "2025-01-01T00:00:00Z",
    "valid_to": "2026-01-01T00:00:00Z",
}

BAD_DEBT: Final[Json] = {"bad_debt_status": "none", "already_paid": 0, "total_debt_amount": 0, "invoices": []}


class Bill(msgspec.Struct, frozen=True):
    """One line of a billing history."""

    id: str
    type: str
    action: str
    description: str
    occurred_at: str
    amount: float
    currency: str = "USD"
    status: str = "paid"
    zone: dict[str, str] = {}


def bills(holder_id: str) -> list[Bill]:
    """The history of an account or a user, a month a line."""
    return [
        Bill(
            id=f"{holder_id[:24]}{month:08x}",
            type="charge",
            action="subscription",
            description="Pro plan, one zone",
            occurred_at=f"2025-{month:02}-01T00:00:00Z",
            amount=20.0,
        )
        for month in range(1, 7)
    ]


def profile(holder_id: str, company: str) -> Json:
    """Who pays, as it stands before anybody edits it."""
    return {
        "id": holder_id,
        "account_type": "standard",
        "first_name": "Demo",
        "last_name": "Owner",
        "company": company,
        "address": "1 Example Street",
        "address2": "",
        "city": "Exampleton",
        "state": "",
        "zipcode": "00000",
        "country": "US",
        "telephone": "",
        "vat": "",
        "tax_id_type": "",
        "primary_email": "billing@demo.example",
        "payment_email": "billing@demo.example",
        "card_number": "xxxx-xxxx-xxxx-0000",
        "card_expiry_month": 12,
        "card_expiry_year": 2099,
        "balance": "0",
        "is_partner": False,
        "next_bill_date": "2025-07-01T00:00:00Z",
        "created_on": "2024-01-01T00:00:00Z",
        "edited_on": "2024-01-01T00:00:00Z",
    }


def edited(current: Json, changes: Mapping[str, object], now: str) -> Json:
    """The profile after an edit; a client cannot set what is not its to set (balance, card, dates)."""
    return {**current, **{key: value for key, value in changes.items() if key in _EDITABLE}, "edited_on": now}


def unpaid_invoice(account_id: str) -> Json:
    """The invoice that waits for its money."""
    return {"invoices": [{**msgspec.to_builtins(bills(account_id)[-1]), "status": "unpaid", "amount_to_pay": 20.0}]}


def usage(account_id: str) -> list[Json]:
    """What was used, day by day, in the FOCUS columns of the real API."""
    return [
        {
            "BillingAccountId": account_id,
            "BillingCurrency": "USD",
            "ChargeCategory": "Usage",
            "ChargeDescription": "Requests, billed by the million",
            "ChargeFrequency": "Usage-Based",
            "ChargePeriodStart": f"2025-06-{day:02}T00:00:00Z",
            "ChargePeriodEnd": f"2025-06-{day + 1:02}T00:00:00Z",
            "ConsumedQuantity": 1000.0 * day,
            "ConsumedUnit": "Requests",
            "HostProviderName": "Demo",
            "InvoiceIssuerName": "Demo",
            "ServiceProviderName": "Demo",
            "x_BillableMetricId": "requests",
        }
        for day in range(1, 4)
    ]
