"""Notifications never hold up a sweep, and warn once about an address that does not take them."""

import threading
import time

import pytest

from sweeper.delivery import NotDelivered
from sweeper.driver import notifier as notifiers
from sweeper.driver.notifier import Event, Notification, Notifier

SECRET = "hunter2"


@pytest.fixture
def sent(monkeypatch) -> list[tuple[str, str]]:
    """Return the list of what is delivered: address and title."""
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(notifiers, "deliver", lambda a, title, text, body: found.append((a, title)))
    return found


def test_all_addresses_are_told_in_order_with_their_variables_expanded(sent, monkeypatch) -> None:
    monkeypatch.setenv("HOOK", f"https://example.org/{SECRET}")
    notifier = Notifier("a", ["${env:HOOK}", "https://example.org/open"], print)
    notifier.send(Event.PAUSED, "No room.")
    notifier.send(Event.RESUMED, "Room.")
    notifier.close()
    for address in (f"https://example.org/{SECRET}", "https://example.org/open"):
        titles = [title for at, title in sent if at == address]
        assert titles == ["sweep a: paused", "sweep a: resumed"]


def test_a_dead_address_is_tried_again_and_warned_about_once(monkeypatch) -> None:
    attempts, said = [], []

    def refuse(address, *rest) -> None:
        attempts.append(address)
        raise NotDelivered("HTTP 500")

    monkeypatch.setattr(notifiers, "deliver", refuse)
    monkeypatch.setattr(notifiers, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setenv("TOKEN", SECRET)
    notifier = Notifier("a", ["https://example.org/${env:TOKEN}"], said.append)
    notifier.send(Event.PAUSED, "one")
    notifier.send(Event.RESUMED, "two")
    deadline = time.monotonic() + 10
    while len(attempts) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    notifier.close()
    assert len(attempts) == 6
    assert said == [
        "notify[0] (https://example.org/${env:TOKEN}) was not notified: HTTP 500. The sweep does "
        "not wait for it."
    ]


def test_a_slow_address_holds_up_neither_the_sweep_nor_another_one(monkeypatch) -> None:
    release, quick = threading.Event(), threading.Event()

    def deliver(address, *rest) -> None:
        if address.endswith("slow"):
            release.wait(30)
        else:
            quick.set()

    monkeypatch.setattr(notifiers, "deliver", deliver)
    notifier = Notifier("a", ["https://example.org/slow", "https://example.org/quick"], print)
    began = time.monotonic()
    notifier.send(Event.FINISHED, "")
    assert quick.wait(10)
    notifier.close(0.2)
    assert time.monotonic() - began < 10
    release.set()


@pytest.mark.parametrize("error", [RuntimeError(f"https://{SECRET}"), NotDelivered("HTTP 404")])
def test_no_error_of_a_service_shows_a_secret_or_reaches_the_sweep(error, monkeypatch) -> None:
    said: list[str] = []

    def fail(*arguments) -> None:
        raise error

    monkeypatch.setattr(notifiers, "deliver", fail)
    notifier = Notifier("a", ["https://example.org"], said.append)
    notifier.send(Event.FAILED, "")
    notifier.close()
    (line,) = said
    assert SECRET not in line


def test_a_variable_that_is_gone_after_a_resume_is_a_warning(sent, monkeypatch) -> None:
    monkeypatch.delenv("GONE", raising=False)
    said: list[str] = []
    notifier = Notifier("a", ["${env:GONE}"], said.append)
    notifier.send(Event.FINISHED, "")
    notifier.close()
    assert sent == []
    assert "GONE is not set" in said[0]


def test_a_message_with_a_password_is_sent_without_it(monkeypatch) -> None:
    bodies: list[dict] = []
    monkeypatch.setattr(notifiers, "deliver", lambda a, title, text, body: bodies.append(body))
    notifier = Notifier("a", ["https://example.org"], print)
    notifier.send(Event.NEEDS_PERSON, f"postgresql://me:{SECRET}@host does not answer.")
    notifier.close()
    assert SECRET not in str(bodies)
    assert "://***@host does not answer." in bodies[0]["message"]


def test_the_body_of_a_request() -> None:
    notification = Notification(
        event=Event.NEEDS_PERSON, sweep="a", message="No room.", trials={"complete": 2}, at=0.0
    )
    body = notification.to_json()
    assert body.pop("host")
    assert body == {
        "schema": 1,
        "event": "needs_person",
        "sweep": "a",
        "text": "sweep a: needs person. No room.",
        "message": "No room.",
        "trials": {"complete": 2},
        "exit_code": None,
        "at": "1970-01-01T00:00:00+00:00",
    }


def test_without_addresses_no_thread_starts() -> None:
    before = threading.active_count()
    notifier = Notifier("a", [], print)
    notifier.send(Event.FINISHED, "")
    notifier.close()
    assert threading.active_count() == before
