from gateway.demo.fault import Fault, Rejected


def test_a_refusal_carries_its_row_of_the_table_with_the_words_filled_in() -> None:
    rejected = Rejected(Fault.ZONE_EXISTS, name="alpha.example")
    assert (rejected.status, rejected.code, str(rejected)) == (400, 1061, "alpha.example already exists")


def test_every_row_is_a_refusal_to_the_client() -> None:
    assert all(400 <= fault.value[0] < 500 and fault.value[2] for fault in Fault)
