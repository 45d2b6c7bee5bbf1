import json

from aiohttp import web

from gateway.demo.envelope import answer, refusal
from gateway.demo.fault import Fault, Rejected
from gateway.demo.listing import ResultInfo


def _read(response: web.Response) -> object:
    assert response.content_type == "application/json"
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


def test_a_yes_wraps_the_result() -> None:
    assert _read(answer({"id": "x"})) == {
        "result": {"id": "x"},
        "success": True,
        "errors": [],
        "messages": [],
    }


def test_a_list_says_which_page_it_is() -> None:
    body = _read(answer([1], ResultInfo(2, 1, 1, 3, 3)))
    assert isinstance(body, dict)
    assert body["result_info"] == {"page": 2, "per_page": 1, "count": 1, "total_count": 3, "total_pages": 3}


def test_a_no_has_one_error_and_no_result() -> None:
    response = refusal(Rejected(Fault.NO_RECORD))
    assert response.status == 404
    assert _read(response) == {
        "result": None,
        "success": False,
        "errors": [{"code": 81044, "message": "Record does not exist."}],
        "messages": [],
    }
