"""Settings that exist once: they are read, replaced and patched with preconditions (C149, C150)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from services.config_api.resources.catalogue import SINGLETONS
from tests.config_api.service import Service

GENERAL = "/v1/settings/general"


async def _newest(service: Service) -> int:
    found: int = (await service.get("/v1/revisions?limit=1"))["items"][0]["number"]
    return found


async def test_putting_the_answer_of_get_back_changes_nothing(service: Service) -> None:
    newest = await _newest(service)
    for path in (f"/v1/{singleton.kind}" for singleton in SINGLETONS):
        before = await service.api.get(path)
        answer = await service.api.put(path, json=before.json(), headers={"If-Match": before.headers["etag"]})
        assert answer.status_code == 200
        assert {name: value for name, value in answer.json().items() if name != "warnings"} == before.json()
        after = await service.api.get(path)
        assert after.json() == before.json()
        assert after.headers["etag"] == answer.headers["etag"] == before.headers["etag"]
    assert await _newest(service) == newest


async def test_a_request_that_changes_nothing_makes_no_revision_but_is_checked_and_recorded(service: Service) -> None:
    await service.change(GENERAL, {"external_postmasters": ["Post@b.example"], "profile": {"banner": "x"}})
    newest, tag = await _newest(service), (await service.api.get(GENERAL)).headers["etag"]
    same: list[dict[str, Any]] = [
        {},
        {"profile": {}},
        {"profile": {"banner": "x", "max_hops": None}},
        # These are other spellings of the present values.
        {"external_postmasters": ["Post@B.EXAMPLE.", "Post@b.example"]},
    ]
    for patch in same:
        answer = await service.api.patch(GENERAL, json=patch, headers={"If-Match": tag})
        assert (answer.status_code, answer.headers["etag"]) == (200, tag), patch
    # An empty patch cannot overwrite anybody's change, so all of these requests succeed.
    answers = await asyncio.gather(*(service.api.patch(GENERAL, json={}, headers={"If-Match": tag}) for _ in range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert (await service.api.patch(GENERAL, json={}, headers={"If-Match": '"0"'})).status_code == 412
    assert (await service.api.patch(GENERAL, json={})).status_code == 428
    assert await _newest(service) == newest
    entry = (await service.get("/v1/audit-log?status=200&limit=1"))["items"][0]
    assert (entry["action"], entry["revision"]) == ("updateGeneralSettings", None)
    await service.change(GENERAL, {"profile": {"banner": "y"}})
    assert await _newest(service) == newest + 1


async def test_patch_treats_null_and_absent_members_differently(service: Service) -> None:
    await service.change(GENERAL, {"profile": {"banner": "Hello", "max_hops": 7}})
    await service.change(GENERAL, {"profile": {"banner": None}})
    profile = (await service.get(GENERAL))["profile"]
    assert (profile["banner"], profile["max_hops"]) == ("ESMTP", 7)


async def test_put_replaces_the_whole_object(service: Service) -> None:
    await service.change(GENERAL, {"profile": {"max_hops": 7}})
    tag = (await service.api.get(GENERAL)).headers["etag"]
    body = {"profile": {"hostname": "gateway.example"}}
    answer = await service.api.put(GENERAL, json=body, headers={"If-Match": tag})
    assert answer.status_code == 200
    assert (await service.get(GENERAL))["profile"]["max_hops"] == 50


async def test_c150_preconditions_are_checked(service: Service) -> None:
    first = await service.api.get(GENERAL)
    tag = first.headers["etag"]
    patch = {"profile": {"banner": "one"}}

    async def attempt(**headers: str) -> httpx.Response:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return await service.api.patch(GENERAL, json=patch, headers=fields)

    assert (await attempt()).status_code == 428
    assert (await attempt(If_Match='"999"')).status_code == 412
    assert (await attempt(If_Match=f"W/{tag}")).status_code == 412
    assert (await attempt(If_Match="no tag")).status_code == 422
    assert (await attempt(If_Match="")).status_code == 422
    assert (await attempt(If_Match=tag, If_None_Match="*")).status_code == 412
    assert (await service.get(GENERAL)) == first.json()
    changed = await attempt(If_Match=f'"999", {tag}')
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    assert (await attempt(If_Match=tag)).status_code == 412
    assert (await attempt(If_Match="*")).status_code == 200


async def test_c150_of_16_writers_with_the_same_etag_only_one_succeeds(service: Service) -> None:
    tag = (await service.api.get(GENERAL)).headers["etag"]
    before = (await service.get("/v1/revisions"))["items"][0]["number"]

    async def write(number: int) -> httpx.Response:
        body = {"profile": {"hostname": "gateway.example", "banner": f"writer {number}"}}
        return await service.api.put(GENERAL, json=body, headers={"If-Match": tag})

    answers = await asyncio.gather(*(write(number) for number in range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 15
    winner = next(number for number, answer in enumerate(answers) if answer.status_code == 200)
    assert (await service.get(GENERAL))["profile"]["banner"] == f"writer {winner}"
    assert (await service.get("/v1/revisions"))["items"][0]["number"] == before + 1


async def test_c150_writers_with_the_etag_star_all_succeed(service: Service) -> None:
    """Eight requests are sent at the same time, and each makes a revision."""
    names = [f"writer{number}@b.example" for number in range(8)]

    async def write(number: int) -> int:
        field = {"profile": {"max_hops": 10 + number}} if number % 2 else {"external_postmasters": [names[number]]}
        return (await service.api.patch(GENERAL, json=field, headers={"If-Match": "*"})).status_code

    before = await _newest(service)
    assert await asyncio.gather(*(write(number) for number in range(8))) == [200] * 8
    assert await _newest(service) == before + 8
    both = {"If-Match": "*", "If-None-Match": "*"}
    assert (await service.api.patch(GENERAL, json={}, headers=both)).status_code == 412


async def test_get_with_the_present_etag_is_answered_with_304(on_sqlite: Service) -> None:
    tag = (await on_sqlite.api.get(GENERAL)).headers["etag"]
    answer = await on_sqlite.api.get(GENERAL, headers={"If-None-Match": f'"0", W/{tag}'})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"profile": {"hostname": "localhost"}}, "/profile/hostname"),
    ({"profile": {"hostname": "a_b.example"}}, "/profile/hostname"),
    ({"profile": {"hostname": "192.0.2.1"}}, "/profile/hostname"),
    ({"profile": {"banner": "a\r\nb"}}, "/profile/banner"),
    ({"profile": {"banner": "grüß"}}, "/profile/banner"),
    ({"profile": {"max_recipients": "100"}}, "/profile/max_recipients"),
    ({"profile": {"max_recipients": 1.5}}, "/profile/max_recipients"),
    ({"profile": {"max_recipients": True}}, "/profile/max_recipients"),
    ({"profile": {"max_recipients": 0}}, "/profile/max_recipients"),
    ({"smtp_auth": {"enabled": "true"}}, "/smtp_auth/enabled"),
    ({"smtp_auth": {"enabled": 1}}, "/smtp_auth/enabled"),
    ({"smtp_auth": {"local_networks": ["10.0.0.1/8"]}}, "/smtp_auth/local_networks/0"),
    ({"smtp_auth": {"local_networks": ["fe80::1%eth0/64"]}}, "/smtp_auth/local_networks/0"),
    ({"external_postmasters": ["nobody"]}, "/external_postmasters/0"),
    ({"external_postmasters": "a@b.example"}, "/external_postmasters"),
]


async def test_general_settings_refuse_invalid_values(on_sqlite: Service) -> None:
    before = await on_sqlite.api.get(GENERAL)
    for patch, pointer in REFUSED:
        answer = await on_sqlite.api.patch(GENERAL, json=patch, headers={"If-Match": before.headers["etag"]})
        assert answer.status_code == 422, patch
        assert answer.headers["content-type"] == "application/problem+json"
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert (await on_sqlite.get(GENERAL)) == before.json()


async def test_values_are_kept_in_canonical_form(on_sqlite: Service) -> None:
    changed = await on_sqlite.change(
        GENERAL,
        {
            "profile": {"hostname": "Gateway.Bücher.Example."},
            "smtp_auth": {
                "local_networks": ["10.0.0.0/255.0.0.0", "::ffff:192.168.0.0/112", "10.0.0.0/8", "192.0.2.7"]
            },
            "external_postmasters": ["Boss@BÜCHER.example"],
        },
    )
    assert changed["profile"]["hostname"] == "gateway.xn--bcher-kva.example"
    assert changed["smtp_auth"]["local_networks"] == ["10.0.0.0/8", "192.168.0.0/16", "192.0.2.7/32"]
    assert changed["external_postmasters"] == ["Boss@xn--bcher-kva.example"]


async def test_c149_unknown_members_are_refused(on_sqlite: Service) -> None:
    before = await on_sqlite.api.get(GENERAL)
    headers = {"If-Match": before.headers["etag"]}
    for member in ("role", "is_admin", "id", "tenant_id", "created_at", "version", "Profile", "externalPostmasters"):
        for answer in (
            await on_sqlite.api.patch(GENERAL, json={member: "x"}, headers=headers),
            await on_sqlite.api.put(GENERAL, json={**before.json(), member: "x"}, headers=headers),
            await on_sqlite.api.patch(GENERAL, json={"profile": {member: "x"}}, headers=headers),
        ):
            assert answer.status_code == 422
            assert {error["code"] for error in answer.json()["errors"]} == {"unknown_member"}
    after = await on_sqlite.api.get(GENERAL)
    assert (after.json(), after.headers["etag"]) == (before.json(), before.headers["etag"])
