"""When the answer to a write says that the change is in force, no mail to the new address is refused."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.settings.gateway import Gateway

WRITERS = 4
ADDRESSES = 15


@pytest.fixture(autouse=True)
def restored(gateway: Gateway) -> Iterator[None]:
    yield
    gateway.restore()


def test_no_address_is_refused_after_the_api_said_that_it_is_in_force(gateway: Gateway) -> None:
    """Parallel writers create accounts. Each sends mail to an address as soon as the API has created its account."""

    def write(writer: int) -> list[tuple[str, str]]:
        outcomes = []
        for number in range(ADDRESSES):
            address = f"new{writer}-{number}@ours.test"
            answer = gateway.suite.api.post("/v1/accounts", json={"login": address, "addresses": [address]})
            assert answer.status_code == 201, answer.text
            with gateway.connect() as client:
                outcomes.append((answer.headers["Posthouse-In-Force"], client.transaction("bob@far.test", address)))
        return outcomes

    with ThreadPoolExecutor(WRITERS) as pool:
        outcomes = [outcome for of_writer in pool.map(write, range(WRITERS)) for outcome in of_writer]
    # On a busy machine, a change may need more than 2 s to come in force. Then the answer says so, and the test
    # ignores the outcome.
    promised = [outcome for in_force, outcome in outcomes if in_force == "true"]
    assert set(promised) == {"accepted"}
    assert len(promised) > len(outcomes) // 2


def test_a_removed_object_has_no_effect_after_the_answer(gateway: Gateway) -> None:
    for number in range(5):
        address = f"gone{number}@ours.test"
        made = gateway.suite.api.post("/v1/accounts", json={"login": address, "addresses": [address]}).json()
        answer = gateway.suite.api.delete(f"/v1/accounts/{made['id']}", headers={"If-Match": "*"})
        assert answer.status_code == 204
        if answer.headers["Posthouse-In-Force"] == "true":
            assert gateway.attempt(address) == "RCPT 550 5.1.1"


def test_a_batch_is_in_force_as_a_whole(gateway: Gateway) -> None:
    addresses = [f"many{number}@ours.test" for number in range(200)]
    operations = [{"action": "create", "object": {"login": each, "addresses": [each]}} for each in addresses]
    answer = gateway.suite.api.post("/v1/accounts:batch", json={"operations": operations})
    assert answer.status_code == 200, answer.text
    if answer.headers["Posthouse-In-Force"] == "true":
        for address in (addresses[0], addresses[-1]):
            assert gateway.attempt(address) == "accepted"
    revisions = {
        each["revision"]
        for each in gateway.read("status")["services"]
        if each["service"] in ("policy", "relay", "config_api")
    }
    assert revisions == {answer.json()["revision"]}
