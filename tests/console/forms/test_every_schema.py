"""For every schema of a request, a value that a form shows is the same when the form is sent unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.console.forms.document import ApiDocument
from services.console.forms.fields import Errors, fields_of
from services.console.forms.schema import ABSENT, Kind
from services.console.forms.texts import from_texts, to_texts
from services.console.rendering import environment
from tests.console.forms.schema_values import SchemaValues
from tests.console.html_forms import HtmlPage

OPENAPI = json.loads((Path(__file__).parents[3] / "openapi.json").read_text())
DOCUMENT = ApiDocument(OPENAPI)
VALUES = SchemaValues(OPENAPI)
_PAGE = environment().from_string('{% from "fields.html" import all %}<form method="post">{{ all(fields) }}</form>')


def _schemas_of_requests() -> dict[str, Any]:
    """Returns the schema of each JSON body that an operation accepts, by its name."""
    schemas = {}
    for methods in OPENAPI["paths"].values():
        for operation in methods.values():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            # Bodies of batches and imports repeat the schemas of the resources and have no forms.
            if body is not None and not operation["operationId"].startswith(("batch", "import")):
                schema = body["schema"]
                references = [each["$ref"] for each in (schema, *schema.get("anyOf", ())) if "$ref" in each]
                schemas[references[0].rpartition("/")[2]] = schema
    return schemas


REQUESTS = _schemas_of_requests()


def through_a_browser(schema: Any, value: Any) -> Any:
    """Shows the value in a form, and returns the value that a browser sends when the form is submitted unchanged."""
    member = DOCUMENT.schemas.body(schema)
    fields = fields_of(member, to_texts(member, value, "/body"), name="/body", is_new=False)
    form = HtmlPage.of(_PAGE.render(fields=fields)).form()
    parsed = from_texts(member, form.texts(), "/body")
    assert parsed.troubles == {}
    return parsed.value


@pytest.mark.parametrize("name", sorted(REQUESTS))
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_form_that_is_sent_unchanged_has_the_same_value(name: str, data: st.DataObject) -> None:
    schema = REQUESTS[name]
    value = data.draw(VALUES.of(schema).filter(lambda value: value is not None))
    assert through_a_browser(schema, value) == value


@pytest.mark.parametrize("kind", sorted(DOCUMENT.resources))
def test_no_member_of_a_resource_must_be_typed_as_json(kind: str) -> None:
    """Each member of a resource has a control of its own."""
    member = DOCUMENT.resources[kind].body
    page = _PAGE.render(fields=fields_of(member, to_texts(member, ABSENT)))
    assert "Written as JSON" not in page
    assert member.kind is Kind.GROUP


@pytest.mark.parametrize("kind", sorted(DOCUMENT.resources))
def test_every_writable_member_has_a_field_with_its_description(kind: str) -> None:
    resource = DOCUMENT.resources[kind]
    page = _PAGE.render(fields=fields_of(resource.body, to_texts(resource.body, ABSENT)))
    for member in resource.body.members:
        if not member.read_only:
            assert f'"/{member.name}' in page, member.name
            assert str(environment().from_string("{{ text }}").render(text=member.description)) in page


@pytest.mark.parametrize("kind", sorted(DOCUMENT.resources))
def test_an_error_is_shown_once_and_at_its_field(kind: str) -> None:
    resource = DOCUMENT.resources[kind]
    texts = to_texts(resource.body, ABSENT)
    writable = [member for member in resource.body.members if not member.read_only]
    errors = Errors([(f"/{member.name}", f"wrong-{member.name}") for member in writable])
    page = _PAGE.render(fields=fields_of(resource.body, texts, errors))
    for member in writable:
        assert page.count(f"wrong-{member.name}<") == 1
    assert errors.rest == ()


def test_a_secret_is_never_written_into_a_page() -> None:
    member = DOCUMENT.resources["accounts"].body
    texts = {**to_texts(member, ABSENT), "/password": ["correct-horse"]}
    assert from_texts(member, texts).value["password"] == "correct-horse"
    assert "correct-horse" not in _PAGE.render(fields=fields_of(member, texts))
