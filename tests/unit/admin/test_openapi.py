from typing import Any

import msgspec
import pytest
from support.records import CATALOG

from gateway.admin.openapi import OPERATIONS, OpenApiPage, describe
from gateway.catalog.api import Route
from gateway.reason import REFUSALS, Answer, Deny, Reason

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
