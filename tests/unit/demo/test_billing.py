from gateway.demo import billing


def test_an_edit_reaches_the_address_and_not_the_balance() -> None:
    before = billing.profile("a", "Alpha Ltd")
    after = billing.edited(before, {"city": "Elsewhere", "balance": "-100", "card_number": "0"}, "now")
    assert after == {**before, "city": "Elsewhere", "edited_on": "now"}


def test_no_two_bills_of_a_holder_have_one_id() -> None:
    ids = [bill.id for bill in billing.bills("0" * 32)]
    assert len(set(ids)) == len(ids) == 6
    assert all(len(bill_id) == 32 for bill_id in ids)


def test_the_unpaid_invoice_says_what_is_to_pay() -> None:
    assert "'amount_to_pay': 20.0" in str(billing.unpaid_invoice("0" * 32))


def test_usage_is_told_day_by_day() -> None:
    assert [row["ChargePeriodStart"] for row in billing.usage("a")] == [
        "2025-06-01T00:00:00Z",
        "2025-06-02T00:00:00Z",
        "2025-06-03T00:00:00Z",
    ]
