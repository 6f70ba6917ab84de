"""`/v1/recipients`: the list may be long, revisions keep only its digest, and import and rollback do not change it."""

from __future__ import annotations

from libs.smtp.address_set import AddressSet
from services.config_api.storage.identifiers import Identifiers
from services.config_api.storage.recipients import RecipientWrite, apply
from services.config_api.storage.revision import Actor, Revision
from tests.config_api.service import Service, writing

ANY = {"If-Match": "*"}


def _codes(answer: dict[str, object]) -> list[str]:
    warnings = answer["warnings"]
    assert isinstance(warnings, list)
    return [warning["code"] for warning in warnings]


async def _list_domain(service: Service, domain: str = "a.example") -> None:
    await service.make("relay-domains", {"domain": domain, "recipients": "list"})


async def test_a_recipient_is_made_found_changed_and_removed(service: Service) -> None:
    await _list_domain(service)
    made = await service.make("recipients", {"address": "Ann@A.example"})
    assert (made["address"], made["warnings"]) == ("Ann@a.example", [])
    path = f"/v1/recipients/{made['id']}"
    assert (await service.get(path))["address"] == "Ann@a.example"
    other = await service.make("recipients", {"address": "bob@b.example"})
    for query, ids in (
        ("", [made["id"], other["id"]]),
        ("?address=ANN@a.example", [made["id"]]),
        ("?domain=b.EXAMPLE", [other["id"]]),
        ("?domain=c.example", []),
    ):
        assert [item["id"] for item in (await service.get(f"/v1/recipients{query}"))["items"]] == ids
    first = await service.get("/v1/recipients?limit=1")
    rest = await service.get(f"/v1/recipients?limit=1&cursor={first['next_cursor']}")
    assert ([item["id"] for item in rest["items"]], rest["next_cursor"]) == ([other["id"]], None)
    changed = await service.change(path, {"address": "anna@a.example"})
    assert (changed["id"], changed["address"], changed["created_at"]) == (
        made["id"],
        "anna@a.example",
        made["created_at"],
    )
    assert (await service.api.delete(path, headers={"If-Match": '"1"'})).status_code == 412
    assert (await service.api.delete(path, headers=ANY)).status_code == 204
    assert (await service.api.get(path)).status_code == 404
    assert (await service.api.delete(path, headers=ANY)).status_code == 404


async def test_an_address_can_be_listed_only_once(service: Service) -> None:
    await _list_domain(service)
    await service.make("recipients", {"address": "ann@a.example"})
    bob = await service.make("recipients", {"address": "bob@a.example"})
    again = await service.api.post("/v1/recipients", json={"address": "ANN@a.example"})
    assert (again.status_code, again.json()["errors"][0]["pointer"]) == (409, "/address")
    changed = await service.api.put(f"/v1/recipients/{bob['id']}", json={"address": "Ann@a.example"}, headers=ANY)
    assert changed.status_code == 409
    assert (await service.get("/v1/recipients?address=bob@a.example"))["items"]
    # The address may be changed to another case.
    await service.change(f"/v1/recipients/{bob['id']}", {"address": "BOB@a.example"})


async def test_a_recipient_of_a_domain_without_a_list_gives_a_warning(on_sqlite: Service) -> None:
    assert _codes(await on_sqlite.make("recipients", {"address": "a@none.example"})) == ["domain_not_ours"]
    await on_sqlite.make("local-domains", {"name": "ours.example"})
    assert _codes(await on_sqlite.make("recipients", {"address": "a@ours.example"})) == ["list_not_used"]
    domain = await on_sqlite.make("relay-domains", {"domain": "a.example", "recipients": "list"})
    assert "empty_list" in _codes(domain)
    await on_sqlite.make("recipients", {"address": "a@a.example"})
    removed = await on_sqlite.api.delete(f"/v1/relay-domains/{domain['id']}", headers=ANY)
    assert (removed.status_code, _codes(removed.json())) == (200, ["domain_of_recipients"])


async def test_consumers_get_the_list_and_each_change_of_it(service: Service) -> None:
    await _list_domain(service)

    def listed(snapshot: object, address: bytes) -> bool:
        buckets = {bucket.number: bucket.keys for bucket in snapshot.recipients}  # type: ignore[attr-defined]
        return address in AddressSet(buckets)

    made = await service.make("recipients", {"address": "Ann@a.example"})
    for consumer in (service.policy, service.relay):
        await consumer(lambda snapshot: listed(snapshot, b"ann@a.example"))
    policy, _ = await service.policy(lambda _: True)
    assert [domain.existing_recipients for domain in policy.relay_domains] == [2]
    await service.api.delete(f"/v1/recipients/{made['id']}", headers=ANY)
    for consumer in (service.policy, service.relay):
        await consumer(lambda snapshot: not snapshot.recipients)


async def test_revisions_keep_count_and_digest(on_sqlite: Service) -> None:
    await _list_domain(on_sqlite)
    made = await on_sqlite.make("recipients", {"address": "ann@a.example"})
    revision = (await on_sqlite.get("/v1/revisions?limit=1"))["items"][0]
    (change,) = (await on_sqlite.get(f"/v1/revisions/{revision['number']}"))["changes"]
    assert (change["kind"], change["id"]) == ("recipients", "recipients")
    found = {each["pointer"]: (each["before"], each["after"]) for each in change["differences"]}
    assert found["/count"] == (0, 1)
    empty, with_ann = found["/digest"]
    assert empty != with_ann
    await on_sqlite.api.delete(f"/v1/recipients/{made['id']}", headers=ANY)
    await on_sqlite.make("recipients", {"address": "ANN@a.example"})
    newest = (await on_sqlite.get("/v1/revisions?limit=1"))["items"][0]["number"]
    (change,) = (await on_sqlite.get(f"/v1/revisions/{newest}"))["changes"]
    # The digest depends only on the addresses, not on the changes that led to them.
    assert {each["pointer"]: each["after"] for each in change["differences"]}["/digest"] == with_ann


async def test_export_import_and_rollback_do_not_change_the_list(on_sqlite: Service) -> None:
    await _list_domain(on_sqlite)
    before = (await on_sqlite.get("/v1/revisions?limit=1"))["items"][0]["number"]
    document = await on_sqlite.get("/v1/config:export")
    assert "recipients" not in document
    await on_sqlite.make("recipients", {"address": "ann@a.example"})
    await on_sqlite.make("relay-domains", {"domain": "b.example"})
    answer = await on_sqlite.api.post("/v1/config:import", json=document, headers=ANY)
    assert (answer.status_code, answer.json()["removed"]) == (200, 1)
    assert len((await on_sqlite.get("/v1/recipients"))["items"]) == 1
    answer = await on_sqlite.api.post(f"/v1/revisions/{before}:rollback", headers=ANY)
    assert answer.status_code == 200, answer.text
    assert len((await on_sqlite.get("/v1/recipients"))["items"]) == 1


async def test_a_hundred_thousand_recipients_are_one_revision(service: Service) -> None:
    """The recipients are written as a batch writes them, and the snapshot contains them all."""
    await _list_domain(service)
    ids = Identifiers()
    writes = [
        RecipientWrite(ids.new(), f"user{number}@a.example", is_new=True, expected=None, place=f"/{number}")
        for number in range(100_000)
    ]
    async with writing(service) as connection:
        revision = await Revision.begin(connection, Actor("test", "admin"), "batch", ids)
        await apply(connection, revision.number, revision.at, writes)
        revision._changed = True
        await revision.finish()
    policy, _ = await service.policy(lambda snapshot: len(snapshot.recipients) > 1)
    assert sum(bucket.keys.count(b"\n") - 1 for bucket in policy.recipients) == 100_000
