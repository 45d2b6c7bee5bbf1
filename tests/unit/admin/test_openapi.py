from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from jsonschema_rs import Draft202012Validator, ValidationError
from support.records import CATALOG, GROUPS, NOW

from gateway.admin.openapi import OPERATIONS, OpenApiPage, describe
from gateway.admin.wire import TokenBody
from gateway.catalog.api import Route
from gateway.reason import REFUSALS, Answer, Deny, Reason
from gateway.tokens.validation import validate_owner, validate_token

PREFIX = "/client/v4"
ROUTES = CATALOG.admin.routes
COOKIE = "zonegate_session"
DOCUMENT = describe(ROUTES, PREFIX, COOKIE)


class NoPages:
    """A listener's other pages: there are none."""

    async def answer(self, method: str, path: bytes) -> Answer | Deny | None:  # noqa: ARG002
        return None


def described(route: Route) -> list[dict[str, Any]]:
    return [DOCUMENT["paths"][route.text.removeprefix(PREFIX)][method.lower()] for method in route.methods]


def test_each_route_is_described_and_each_description_has_a_route() -> None:
    assert {route.operation for route in ROUTES} == OPERATIONS.keys()
    count = sum(len(route.methods) for route in ROUTES)
    assert sum(len(methods) for methods in DOCUMENT["paths"].values()) == count
    ids = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == count


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{' '.join(route.methods)} {route.text}")
def test_each_variable_of_a_path_is_a_parameter_and_what_it_needs_is_said(route: Route) -> None:
    for operation in described(route):
        names = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert names == {part[1:-1] for part in route.text.split("/") if part.startswith("{")}
        assert all(name in operation["description"] for name in route.permissions)


def test_each_refusal_has_its_status_with_reason_and_code() -> None:
    told = [
        (int(status), response["description"])
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        if status != "200"
    ]
    for status, description in told:
        for line in description.split("; "):
            row = REFUSALS[Reason(line.split(" ")[0])]
            assert (row.status, f"(code {row.code})") == (status, line.partition(" ")[2])


def test_a_session_of_the_dashboard_is_heard_too_and_changes_by_its_own_pages_alone() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert (schemes["session"]["in"], schemes["session"]["name"]) == ("cookie", COOKIE)
    assert (schemes["csrf"]["in"], schemes["csrf"]["name"]) == ("header", "X-CSRF-Token")
    for methods in DOCUMENT["paths"].values():
        for method, operation in methods.items():
            changes = method != "get"
            session = {"session": [], "csrf": []} if changes else {"session": []}
            assert operation["security"] == [{"token": []}, session]
            assert ("cross_site" in operation["responses"]["403"]["description"]) is changes


def test_every_reference_leads_somewhere() -> None:
    text = msgspec.json.encode(DOCUMENT).decode()
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= DOCUMENT["components"]["schemas"].keys()
    assert "Token" in names


def bodies() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Each operation that takes a body: its name, that body, and its type."""
    for route in ROUTES:
        for operation in described(route):
            if "requestBody" in operation:
                content = operation["requestBody"]["content"]["application/json"]
                yield operation["operationId"], content, OPERATIONS[route.operation].takes


@pytest.mark.parametrize(("content", "type_"), [pytest.param(*rest, id=name) for name, *rest in bodies()])
def test_an_example_is_a_body_that_its_schema_takes(content: dict[str, Any], type_: Any) -> None:
    msgspec.convert(content["example"], type_)  # the schema is made of the type
    validator = Draft202012Validator({**content["schema"], "components": DOCUMENT["components"]})
    validator.validate(content["example"])
    with pytest.raises(ValidationError):
        validator.validate({**content["example"], "no": "such member"})


@pytest.mark.parametrize(
    ("name", "validate"),
    [
        ("create", lambda body: validate_token(body, GROUPS, NOW, lambda: "0" * 32)),
        ("create-owner", lambda body: validate_owner(body, GROUPS, lambda: "0" * 32)),
    ],
)
def test_an_example_is_a_body_that_is_taken(name: str, validate: Callable[[bytes], object]) -> None:
    content = next(content for found, content, _ in bodies() if found.endswith(name))
    found = validate(msgspec.json.encode(content["example"]))
    assert not isinstance(found, tuple), found


@pytest.mark.parametrize(
    "condition",
    [None, {}, {"request_ip": None}, {"request_ip": {"in": None, "not_in": None}}, {"request_ip": {"not_in": []}}],
    ids=str,
)
def test_a_condition_that_is_taken_as_none_is_described_so(condition: object) -> None:
    content = next(content for found, content, _ in bodies() if found == "user-create")
    body = content["example"] | {"condition": condition}
    assert not isinstance(validate_token(msgspec.json.encode(body), GROUPS, NOW, lambda: "0" * 32), tuple)
    msgspec.convert(body, TokenBody)


def test_the_example_of_a_refusal_is_one() -> None:
    schema = DOCUMENT["components"]["schemas"]["Refusal"]
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(schema["examples"][0])


def test_the_path_in_an_example_is_below_the_gateway_s_own_prefix() -> None:
    routes = [msgspec.structs.replace(route, text="/api/v9" + route.text.removeprefix(PREFIX)) for route in ROUTES]
    body = describe(routes, "/api/v9", COOKIE)["paths"]["/user/tokens/{token_id}/explain"]["post"]["requestBody"]
    assert body["content"]["application/json"]["example"]["path"].startswith("/api/v9/zones/")


def test_a_prefix_of_another_gateway_is_where_its_server_is() -> None:
    assert describe(ROUTES, "", COOKIE)["servers"] == [{"url": "/"}]


async def test_the_page_is_the_document_and_takes_no_other_method() -> None:
    page = OpenApiPage(DOCUMENT, NoPages())
    answer = await page.answer("GET", b"/openapi.json")
    assert isinstance(answer, Answer)
    assert msgspec.json.decode(answer.body) == msgspec.json.decode(msgspec.json.encode(DOCUMENT))
    refused = await page.answer("POST", b"/openapi.json")
    assert isinstance(refused, Deny)
    assert (refused.reason, refused.methods) == (Reason.METHOD_NOT_ALLOWED, ("GET", "HEAD"))


async def test_all_other_pages_are_the_others() -> None:
    assert await OpenApiPage(DOCUMENT, NoPages()).answer("GET", b"/openapi.json/") is None
