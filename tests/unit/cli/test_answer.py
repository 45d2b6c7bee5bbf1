import msgspec
import pytest

from gateway.cli.answer import Envelope, ShownEntry, ShownToken

TOKEN = b'{"id": "1", "name": "x", "status": "active", "policies": [%s], "later": {"unknown": true}}'
POLICY = b'{"id": "2", "effect": "deny", "permission_groups": [{"id": "3"}], "resources": {"r": "*"}, "records": []}'


def test_fields_of_a_later_version_are_passed_over() -> None:
    token = msgspec.json.decode(TOKEN % POLICY, type=ShownToken)
    assert (token.name, token.policies[0].effect, token.policies[0].permission_groups[0].name) == ("x", "deny", "")


def test_an_entry_of_the_audit_may_leave_out_what_it_does_not_need() -> None:
    entry = msgspec.json.decode(b'{"id": "1-1", "action": {"type": "x"}, "later": 1}', type=ShownEntry)
    assert (entry.when, entry.actor.ip, entry.resource.id, entry.metadata.reason, entry.before) == (None,) * 5


@pytest.mark.parametrize(
    "body",
    [
        b'{"success": true}',
        b'{"success": true, "errors": null, "messages": null, "result": null, "result_info": null}',
        b'{"success": false, "errors": [{"code": 1, "message": "x", "source": null, "error_chain": []}]}',
        b'{"success": false, "errors": [{"message": "x", "source": {"pointer": null}, "documentation_url": "u"}]}',
    ],
)
def test_an_envelope_may_leave_out_what_it_does_not_need(body: bytes) -> None:
    assert isinstance(msgspec.json.decode(body, type=Envelope), Envelope)


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"{}", b'{"success": "yes"}', b'{"success": true, "errors": ["x"]}'])
def test_what_is_no_envelope_is_not_read_as_one(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body, type=Envelope)
