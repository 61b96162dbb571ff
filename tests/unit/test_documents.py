"""The documents made from the code say what the code says (house-style 10)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.problems import PROBLEMS
from tests import documents

STALE = "say `make docs`, look at the difference, and commit it"


def test_the_openapi_document_is_the_one_committed() -> None:
    assert documents.openapi() == documents.OPENAPI.read_text(encoding="utf-8"), STALE


def test_the_command_line_is_described_as_it_is() -> None:
    assert documents.command_line() == documents.CLI.read_text(encoding="utf-8"), STALE


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return dict(json.loads(documents.OPENAPI.read_text(encoding="utf-8")))


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for methods in document["paths"].values() for operation in methods.values()]


def problem_codes(document: dict[str, Any], response: dict[str, Any]) -> set[str]:
    if "$ref" in response:
        return {response["$ref"].rpartition("/")[2]}
    own = response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]
    return set(own["code"]["enum"])


def test_every_operation_says_everything(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["security"] == [{"assertion": []}]
    assert len(operations(document)) >= 17
    identifiers = [operation["operationId"] for operation in operations(document)]
    assert len(set(identifiers)) == len(identifiers)
    for operation in operations(document):
        assert operation["summary"]
        assert operation["description"]
        statuses = set(operation["responses"])
        assert {"401", "413", "422", "429", "500"} <= statuses
        assert len([status for status in statuses if status.startswith("2")]) == 1
        for status, response in operation["responses"].items():
            if status >= "400":
                for code in problem_codes(document, response):
                    assert PROBLEMS[code][0] == int(status)
        for parameter in operation.get("parameters", ()):
            assert "null" not in json.dumps(parameter["schema"])


def test_every_code_of_the_contract_belongs_to_some_operation(document: dict[str, Any]) -> None:
    found = {
        code
        for operation in operations(document)
        for status, response in operation["responses"].items()
        if status >= "400"
        for code in problem_codes(document, response)
    }
    # A wrong method belongs to no operation.
    assert found == set(PROBLEMS) - {"method-not-allowed"}


def test_bodies_refuse_what_they_do_not_know(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    bodies = [name for name in schemas if name.endswith("In")]
    assert len(bodies) >= 5
    assert all(schemas[name]["additionalProperties"] is False for name in bodies)
