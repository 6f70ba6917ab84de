"""The pages of all configuration, over HTTP."""

from __future__ import annotations

import re
from typing import Any

import pytest
from markupsafe import escape

from services.console.forms.document import ApiDocument
from tests.config_api.service import Service
from tests.console.pages.reader import Reader, key_of_role

SCRIPT = "<script>alert('x')</script>"
_SECRET = "whsec_[A-Za-z0-9+/=]{20,}"
OBJECTS: dict[str, dict[str, Any]] = {
    "relay-rules": {
        "name": "partner",
        "type": "recipient",
        "target_type": "domain",
        "targets": ["partner.test"],
        "relay_host": {"host": "relay.test", "auth": {"username": "posthouse", "password": "correct-horse"}},
    },
    "trusted-networks": {"name": "office", "networks": ["192.0.2.0/24", "2001:db8::/32"]},
    "relay-domains": {"domain": "relayed.test"},
    "local-domains": {"name": "ours.test", "mailbox": {"kind": "lmtp", "host": "mail.test", "port": 24}},
    "accounts": {"login": "alice", "password": "correct-horse", "addresses": ["alice@ours.test"]},
    "aliases": {"address": "info@ours.test", "targets": ["alice@ours.test"]},
    "recipients": {"address": "bob@relayed.test"},
    "access-rules": {
        "list": "block",
        "criterion": "ip",
        "value": "192.0.2.7",
        "expires_at": "2090-01-31T12:00:00.500Z",
    },
    "dkim-keys": {"domain": "ours.test", "selector": "first"},
    "tls-policies": {"domain": "partner.test", "level": "encrypt"},
    "api-keys": {"name": "monitoring", "role": "reader"},
    "webhooks": {"url": "https://hooks.test/mail", "events": ["bounced", "delivered"]},
}


async def _document(service: Service) -> ApiDocument:
    return ApiDocument(await service.get("/openapi.json"))


async def test_the_index_leads_to_everything_that_is_configured(service: Service, reader: Reader) -> None:
    page = await reader.page("/configuration")
    resources = (await _document(service)).resources
    for kind, resource in resources.items():
        assert f'<a href="/configuration/{kind}">{resource.title}</a>' in page.text
        assert (await reader.page(f"/configuration/{kind}")).text.count('aria-current="page"') == 1


async def test_a_form_that_is_sent_unchanged_changes_nothing(service: Service, reader: Reader) -> None:
    """The test sends the form of each section of settings, and of one object of each kind."""
    resources = (await _document(service)).resources
    addresses = [kind for kind, resource in resources.items() if not resource.is_collection]
    for kind in resources.keys() & OBJECTS.keys():
        body = OBJECTS[kind]
        addresses.append(f"{kind}/{(await service.make(kind, body))['id']}")
    newest = (await service.get("/v1/revisions"))["items"][0]["number"]
    for address in addresses:
        page = await reader.page(f"/configuration/{address}")
        assert "correct-horse" not in page.text
        form = page.form(address)
        page = await reader.post(f"/configuration/{address}", form.texts())
        assert "Nothing was changed" in page.text, address
    assert (await service.get("/v1/revisions"))["items"][0]["number"] == newest


async def test_an_object_is_made_found_changed_and_deleted(service: Service, reader: Reader) -> None:
    form = (await reader.page("/configuration/trusted-networks/new")).form()
    texts = form.filled(**{"/name": "office", "/networks": "198.51.100.0/24\r\n\r\n 203.0.113.0/24 "})
    page = await reader.post("/configuration/trusted-networks/new", texts)
    assert "Trusted network office was made. It is in force." in page.text
    made = (await service.get("/v1/trusted-networks"))["items"][0]
    assert made["networks"] == ["198.51.100.0/24", "203.0.113.0/24"]
    # The same form sent again creates no second object.
    await reader.post("/configuration/trusted-networks/new", texts)
    assert len((await service.get("/v1/trusted-networks"))["items"]) == 1

    address = f"/configuration/trusted-networks/{made['id']}"
    page = await reader.page("/configuration/trusted-networks?name=office&enabled=true")
    assert f'<a href="{address}">office</a>' in page.text
    assert "1 found" in page.text
    assert "Nothing was found" in (await reader.page("/configuration/trusted-networks?name=other")).text

    form = (await reader.page(address)).form(made["id"])
    page = await reader.post(address, form.filled(**{"/enabled": None}))
    assert "was saved. It is in force." in page.text
    assert (await service.get(f"/v1/trusted-networks/{made['id']}"))["enabled"] is False

    page = await reader.page(f"{address}/delete")
    assert "It is gone at once, everywhere." in page.text
    page = await reader.post(f"{address}/delete", page.form("/delete").texts())
    assert "The trusted network was deleted. It is in force." in page.text
    assert (await service.get("/v1/trusted-networks"))["items"] == []


async def test_errors_are_shown_at_their_fields_and_the_typed_values_stay(reader: Reader) -> None:
    form = (await reader.page("/configuration/relay-rules/new")).form()
    texts = form.filled(
        **{
            "/name": "partner",
            "/type": "recipient",
            "/target_type": "domain",
            "/targets": "no domain at all",
            "/relay_host/host": "relay.test",
            "/relay_host/port": "99999",
            "/position": "first",
        }
    )
    page = await reader.post("/configuration/relay-rules/new", texts, 422)
    assert re.search(r'id="field-position-error1">This is not a whole number\.', page.text)
    assert 'value="first"' in page.text
    texts["/position"] = ["1"]
    page = await reader.post("/configuration/relay-rules/new", texts, 422)
    assert re.search(r'id="field-relay_host-port-error1">[^<]*65535', page.text)
    assert "no domain at all</textarea>" in page.text
    assert 'aria-invalid="true"' in page.text


async def test_a_value_that_another_object_has_gives_an_error_at_its_field(service: Service, reader: Reader) -> None:
    await service.make("accounts", OBJECTS["accounts"])
    form = (await reader.page("/configuration/accounts/new")).form()
    page = await reader.post("/configuration/accounts/new", form.filled(**{"/login": "ALICE"}), 409)
    assert 'id="field-login-error1"' in page.text


async def test_a_user_with_an_outdated_form_sees_the_differences_and_may_overwrite(
    service: Service, reader: Reader
) -> None:
    form = (await reader.page("/configuration/settings/queue")).form("settings/queue")
    await service.change("/v1/settings/queue", {"retention_days": 3})
    page = await reader.post("/configuration/settings/queue", form.filled(**{"/retention_days": "30"}), 412)
    assert "Somebody else has changed this" in page.text
    assert "<td>Retention days</td><td>3</td><td>30</td>" in page.text
    await reader.post("/configuration/settings/queue", page.form("settings/queue").texts())
    assert (await service.get("/v1/settings/queue"))["retention_days"] == 30


async def test_a_list_of_objects_grows_and_shrinks_without_script(service: Service, reader: Reader) -> None:
    address = "/configuration/settings/content-checks"
    form = (await reader.page(address)).form("content-checks")
    name, value = form.buttons["Add to Zones"]
    form = (await reader.post(address, form.filled(**{name: value}))).form("content-checks")
    form = (await reader.post(address, form.filled(**{name: value, "/dnsbl/zones/0/zone": "a.test"}))).form(
        "content-checks"
    )
    assert form.texts()["/dnsbl/zones"] == ["0", "1"]
    texts = form.filled(**{"/dnsbl/zones/1/zone": "b.test"})
    await reader.post(address, texts)
    zones = (await service.get("/v1/settings/content-checks"))["dnsbl"]["zones"]
    assert [zone["zone"] for zone in zones] == ["a.test", "b.test"]
    form = (await reader.page(address)).form("content-checks")
    name, value = form.buttons["Remove number 1"]
    form = (await reader.post(address, form.filled(**{name: value}))).form("content-checks")
    await reader.post(address, form.texts())
    zones = (await service.get("/v1/settings/content-checks"))["dnsbl"]["zones"]
    assert [zone["zone"] for zone in zones] == ["b.test"]


async def test_another_variant_is_chosen_by_its_button(service: Service, reader: Reader) -> None:
    made = await service.make("local-domains", OBJECTS["local-domains"])
    address = f"/configuration/local-domains/{made['id']}"
    form = (await reader.page(address)).form(made["id"])
    texts = form.filled(**{"/mailbox": "smtp", "/mailbox:smtp/host": "other.test"})
    await reader.post(address, texts)
    stored = (await service.get(f"/v1/local-domains/{made['id']}"))["mailbox"]
    assert (stored["kind"], stored["host"], stored["port"]) == ("smtp", "other.test", 25)
    texts = (await reader.page(address)).form(made["id"]).filled(**{"/mailbox": "null"})
    page = await reader.post(address, texts)
    assert "Without a mailbox, the mail of the domain is held." in page.text
    assert (await service.get(f"/v1/local-domains/{made['id']}"))["mailbox"] is None


async def test_a_password_is_kept_changed_and_removed(service: Service, reader: Reader) -> None:
    made = await service.make("accounts", OBJECTS["accounts"])
    address = f"/configuration/accounts/{made['id']}"
    form = (await reader.page(address)).form(made["id"])
    await reader.post(address, form.filled(**{"/enabled": None}))
    assert (await service.get(f"/v1/accounts/{made['id']}"))["password_set"] is True
    form = (await reader.page(address)).form(made["id"])
    await reader.post(address, form.filled(**{"/password!remove": "on"}))
    assert (await service.get(f"/v1/accounts/{made['id']}"))["password_set"] is False


async def test_a_key_is_shown_once_rotated_and_revoked(service: Service, reader: Reader) -> None:
    form = (await reader.page("/configuration/api-keys/new")).form()
    page = await reader.post("/configuration/api-keys/new", form.filled(**{"/name": "monitoring", "/role": "reader"}))
    keys = re.findall(r"<code>(ph_[^<]+)</code>", page.text)
    assert len(keys) == 1
    assert "shown only now" in page.text
    record = next(key for key in (await service.get("/v1/api-keys"))["items"] if key["name"] == "monitoring")
    address = f"/configuration/api-keys/{record['id']}"
    page = await reader.page(address)
    assert keys[0] not in page.text
    page = await reader.post(f"{address}/do/rotate", page.form("/do/rotate").filled(**{"/overlap_minutes": "5"}))
    rotated = re.findall(r"<code>(ph_[^<]+)</code>", page.text)
    assert len(rotated) == 1
    assert rotated != keys
    page = await reader.page(f"{address}/delete")
    await reader.post(f"{address}/delete", page.form("/delete").texts())
    answer = await service.api.get("/v1/whoami", headers={"Authorization": f"Bearer {rotated[0]}"})
    assert answer.status_code == 401


async def test_a_webhook_shows_its_secret_once_and_its_deliveries(service: Service, reader: Reader) -> None:
    form = (await reader.page("/configuration/webhooks/new")).form()
    texts = {**form.filled(**{"/url": "https://hooks.test/mail"}), "/events": ["delivered", "bounced"]}
    page = await reader.post("/configuration/webhooks/new", texts)
    assert len(re.findall(_SECRET, page.text)) == 1
    record = (await service.get("/v1/webhooks"))["items"][0]
    assert record["events"] == ["delivered", "bounced"]
    address = f"/configuration/webhooks/{record['id']}"
    page = await reader.page(address)
    assert not re.search(_SECRET, page.text)
    page = await reader.post(f"{address}/do/rotate-secret", page.form("rotate-secret").texts())
    assert len(re.findall(_SECRET, page.text)) == 1
    assert "There is none yet." in (await reader.page(f"{address}/deliveries")).text
    # hooks.test has no address, so the test event fails, and the page shows the error.
    page = await reader.page(address)
    page = await reader.post(f"{address}/do/test", page.form("/do/test").texts())
    assert "failing" in page.text
    page = await reader.page(f"{address}/deliveries")
    assert "failing" in page.text
    # A test event is not in the history, so it cannot be sent again, and the page says so.
    page = await reader.post(f"{address}/deliveries/do/resend", page.form("resend").texts(), 404)
    assert "There is no such event in the history." in page.text


async def test_dkim_keys_show_the_record_to_publish(service: Service, reader: Reader) -> None:
    made = await service.make("dkim-keys", OBJECTS["dkim-keys"])
    page = await reader.page(f"/configuration/dkim-keys/{made['id']}")
    assert "<code>first._domainkey.ours.test</code>" in page.text
    assert f"<code>{escape(made['dns_record'])}</code>" in page.text


async def test_the_query_of_the_address_fills_the_form_of_a_new_object(reader: Reader) -> None:
    page = await reader.page("/configuration/access-rules/new?list=allow&criterion=ip&value=192.0.2.9&unknown=1")
    texts = page.form().texts()
    assert (texts["/list"], texts["/criterion"], texts["/value"]) == (["allow"], ["ip"], ["192.0.2.9"])


@pytest.mark.parametrize("role", ["reader", "operator"])
async def test_actions_that_the_role_may_not_do_are_not_offered(service: Service, reader: Reader, role: str) -> None:
    made = await service.make("webhooks", OBJECTS["webhooks"])
    form = (await reader.page("/configuration/webhooks/new")).form()
    await reader.sign_in(await key_of_role(service, role))
    page = await reader.page("/configuration")
    assert "/configuration/api-keys" not in page.text
    await reader.page("/configuration/api-keys", 403)
    address = f"/configuration/webhooks/{made['id']}"
    page = await reader.page(address)
    offered = {form.action for form in page.forms} - {"/sign-out"}
    assert offered == ({f"{address}/do/test"} if role == "operator" else set())
    assert "delete" not in page.text
    assert "New webhook" not in (await reader.page("/configuration/webhooks")).text
    await reader.page("/configuration/webhooks/new", 403)
    own = _token(page.text)
    for path in (f"{address}/delete", address, "/configuration/webhooks/new"):
        await reader.post(path, {**form.texts(), "token": [own]}, 403)


def _token(text: str) -> str:
    """Returns the token in a page's forms."""
    match = re.search('name="token" value="([^"]+)"', text)
    assert match is not None
    return match[1]


async def test_a_script_in_a_name_is_shown_as_text(service: Service, reader: Reader) -> None:
    made = await service.make("access-rules", {**OBJECTS["access-rules"], "name": SCRIPT})
    address = f"/configuration/access-rules/{made['id']}"
    for path in (
        address,
        f"{address}/delete",
        "/configuration/access-rules",
        f"/configuration/access-rules?name={SCRIPT}",
    ):
        page = await reader.page(path)
        assert SCRIPT not in page.text
        assert str(escape(SCRIPT)) in page.text


@pytest.mark.parametrize(
    "path", ["unknown", "accounts/0192f3c4-5a6b-7c8d-9e0f-1a2b3c4d5e6f", "settings/unknown", "accounts/x/deliveries"]
)
async def test_a_missing_object_is_reported(reader: Reader, path: str) -> None:
    await reader.page(f"/configuration/{path}", 404)
