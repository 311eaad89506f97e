"""The delivery of notifications to a real server, by a webhook and by apprise."""

import socket

import pytest

from sweeper import delivery
from sweeper.delivery import NotDelivered, deliver, fault_of
from tests.support.servers.webhook import Webhook, webhook

PAYLOAD = {"event": "finished", "text": "sweep a: finished. 3 trials are complete."}
SECRET = "hunter2-hunter2"


@pytest.fixture
def hook():
    with webhook() as started:
        yield started


def send(address: str) -> None:
    deliver(address, "sweep a: finished", "3 trials are complete.", PAYLOAD)


@pytest.mark.slow
def test_a_webhook_gets_one_post_with_the_notification(hook: Webhook) -> None:
    send(f"{hook.url}/services/{SECRET}?room=7")
    assert hook.paths == [f"/services/{SECRET}?room=7"]
    assert hook.bodies == [PAYLOAD]


@pytest.mark.slow
def test_apprise_gets_title_and_text(hook: Webhook) -> None:
    pytest.importorskip("apprise", reason="apprise is not installed")
    send(f"{hook.url.replace('http', 'json')}/a")
    (body,) = hook.bodies
    assert (body["title"], body["message"]) == ("sweep a: finished", "3 trials are complete.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "why"), [(404, "HTTP 404"), (500, "HTTP 500"), (302, "HTTP 302")]
)
def test_what_a_webhook_refuses_is_not_sent_elsewhere(hook, status, why) -> None:
    hook.status = status
    with pytest.raises(NotDelivered, match=why) as caught:
        send(f"{hook.url}/{SECRET}")
    assert len(hook.paths) == 1
    assert SECRET not in str(caught.value)


@pytest.mark.slow
def test_an_answer_that_does_not_come_is_not_waited_for(hook: Webhook, monkeypatch) -> None:
    monkeypatch.setattr(delivery, "TIMEOUT_S", 0.2)
    hook.delay_s = 5.0
    with pytest.raises(NotDelivered, match="no answer within 0 s"):
        send(hook.url)


def test_no_message_shows_the_address(monkeypatch) -> None:
    known = socket.getaddrinfo

    def lookup(host, *more, **options):
        if host.endswith(".invalid"):  # a resolver may take long to say so
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for address in (
            f"http://127.0.0.1:{port}/{SECRET}",
            f"http://{SECRET}.invalid/",
            f"http://127.0.0.1:{port}/{SECRET} with a space",
            f"http://me:{SECRET}@127.0.0.1:99999/",
        ):
            with pytest.raises(NotDelivered) as caught:
                send(address)
            assert SECRET not in str(caught.value), address


@pytest.mark.parametrize(
    "address",
    ["", "hooks.example.org/x", "http://", "http:///path", "https://host:99999/", "https:// host/",
     "https://me:pw@example.org/hook", "https://me@example.org/hook"],
)  # fmt: skip
def test_what_is_no_address(address: str) -> None:
    assert fault_of(address)


@pytest.mark.slow
def test_a_service_that_apprise_does_not_know_is_a_fault() -> None:
    pytest.importorskip("apprise", reason="apprise is not installed")
    assert fault_of("nobody://host") == "apprise does not know such an address"
    assert fault_of("mailto://me:pw@example.org") is None


def test_without_apprise_its_addresses_name_the_extra(monkeypatch) -> None:
    monkeypatch.setattr(delivery, "find_spec", lambda name: None)
    assert "crossmodal-sweeper[notify]" in (fault_of("slack://a/b/c") or "")
    with pytest.raises(NotDelivered, match="sweeper"):
        send("slack://a/b/c")
    assert fault_of("https://example.org/hook") is None
