"""The pages of changes and of the audit log, over HTTP."""

from __future__ import annotations

from markupsafe import escape

from tests.config_api.service import Service
from tests.console.pages.reader import Reader, key_of_role

SCRIPT = "<script>alert('x')</script>"


async def test_a_change_shows_who_made_it_and_when_and_what_it_changed(service: Service, reader: Reader) -> None:
    await service.change("/v1/settings/queue", {"retention_days": 3})
    page = await reader.page("/changes")
    assert "updateQueueSettings settings/queue" in page.text
    number = (await service.get("/v1/revisions"))["items"][0]["number"]
    page = await reader.page(f"/changes/{number}")
    assert '<a href="/configuration/settings/queue">queue settings</a>' in page.text
    assert '<td class="before">7</td><td class="after">3</td>' in page.text
    page = await reader.page(f"/changes/compare?from={number}&to={number - 1}")
    assert '<td class="before">3</td><td class="after">7</td>' in page.text


async def test_a_rollback_is_previewed_and_done(service: Service, reader: Reader) -> None:
    before = (await service.get("/v1/revisions"))["items"][0]["number"]
    await service.change("/v1/settings/queue", {"retention_days": 3})
    page = await reader.page(f"/changes/{before}/roll-back")
    assert "1 object would change" in page.text
    assert '<td class="before">3</td><td class="after">7</td>' in page.text
    assert (await service.get("/v1/settings/queue"))["retention_days"] == 3
    page = await reader.post(f"/changes/{before}/roll-back", page.form("roll-back").texts())
    assert f"The configuration is what it was after revision {before}. It is in force." in page.text
    assert (await service.get("/v1/settings/queue"))["retention_days"] == 7
    assert "Nothing differs" in (await reader.page(f"/changes/{before}/roll-back")).text


async def test_a_rollback_is_refused_when_the_configuration_has_changed_since_its_preview(
    service: Service, reader: Reader
) -> None:
    before = (await service.get("/v1/revisions"))["items"][0]["number"]
    await service.change("/v1/settings/queue", {"retention_days": 3})
    form = (await reader.page(f"/changes/{before}/roll-back")).form("roll-back")
    await service.change("/v1/settings/queue", {"retention_days": 4})
    page = await reader.post(f"/changes/{before}/roll-back", form.texts(), 412)
    assert "Somebody else has changed the configuration" in page.text
    assert (await service.get("/v1/settings/queue"))["retention_days"] == 4
    await reader.post(f"/changes/{before}/roll-back", page.form("roll-back").texts())
    assert (await service.get("/v1/settings/queue"))["retention_days"] == 7


async def test_changes_show_neither_secrets_nor_scripts_of_others(service: Service, reader: Reader) -> None:
    await service.make("accounts", {"login": SCRIPT, "password": "correct-horse"})
    number = (await service.get("/v1/revisions"))["items"][0]["number"]
    pages = [await reader.page(path) for path in (f"/changes/{number}", f"/changes/{number - 1}/roll-back", "/changes")]
    for page in pages:
        assert SCRIPT not in page.text
        assert "correct-horse" not in page.text
    assert str(escape(SCRIPT)) in pages[0].text
    assert "a secret, which was" in pages[0].text


async def test_a_reader_sees_changes_without_a_rollback(service: Service, reader: Reader) -> None:
    number = (await service.get("/v1/revisions"))["items"][0]["number"]
    await reader.sign_in(await key_of_role(service, "reader"))
    page = await reader.page("/changes")
    assert "Roll back" not in page.text
    assert "roll-back" not in (await reader.page(f"/changes/{number}")).text
    await reader.page(f"/changes/{number}/roll-back", 403)
    assert "/audit-log" not in page.text
    await reader.page("/audit-log", 403)


async def test_the_audit_log_is_searched_with_the_filters_of_the_api(service: Service, reader: Reader) -> None:
    await service.change("/v1/settings/queue", {"retention_days": 3})
    page = await reader.page("/audit-log")
    assert "updateQueueSettings" in page.text
    page = await reader.page("/audit-log?action=replaceQueueSettings")
    assert "Nothing was found" in page.text
    page = await reader.page("/audit-log?status=many")
    assert "This is not a whole number." in page.text


async def test_invalid_revision_numbers_give_a_404(reader: Reader) -> None:
    for path in (
        "/changes/x",
        "/changes/0",
        "/changes/9999999",
        "/changes/9999999/roll-back",
        "/changes/compare?from=1",
    ):
        await reader.page(path, 404)
