"""The delivery of a notification to one address: a webhook, or a service that apprise knows.

An address with `http://` or `https://` is a webhook: it gets a POST request with JSON. All other
addresses, such as `slack://` and `mailto://`, are those of apprise (https://appriseit.com), which
the extra `notify` installs. An address may hold a secret, so no message here shows one.
"""

import json
import logging
import re
from http.client import HTTPException
from importlib.util import find_spec
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from sweeper.text import JsonObject
from trainables.plugins import install

TIMEOUT_S = 10.0  # of each answer
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://\S+", re.I)
WEBHOOKS = ("http", "https")
EXTRA = f"it needs apprise: {install('notify')}"


class NotDelivered(Exception):
    """An address that did not take a notification. The message has the reason, and no address."""


class _NoRedirects(HTTPRedirectHandler):
    """A handler that treats a redirect as an error: a POST would become a GET elsewhere."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def is_webhook(address: str) -> bool:
    """Return whether an address is a plain webhook."""
    return address.lower().startswith(tuple(f"{scheme}://" for scheme in WEBHOOKS))


def fault_of(address: str) -> str | None:
    """Return why nothing can be sent to an address, or None. The result does not show it."""
    if not SCHEME.fullmatch(address):
        return "it must be an address with its scheme, such as https:// or slack://"
    if is_webhook(address):
        try:
            parts = urlsplit(address)
            is_whole = bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_whole = False
        if not is_whole:
            return "it names no host, or no valid port"
        if "@" in parts.netloc:
            return "a webhook takes no user: write it for apprise, as jsons://USER:PASSWORD@HOST"
        return None
    try:
        _service(address)
    except NotDelivered as error:
        return str(error)
    return None


def deliver(address: str, title: str, text: str, payload: JsonObject) -> None:
    """Send a notification.

    Args:
        address: The webhook, which gets `payload`, or the service, which gets `title` and `text`.
        title: One line.
        text: The message.
        payload: The notification as plain data.

    Raises:
        NotDelivered: The address did not take it.
    """
    if is_webhook(address):
        _post(address, payload)
        return
    if not _service(address).notify(body=text, title=title):
        raise NotDelivered("apprise could not deliver it")


def _service(address: str) -> Any:
    """Return apprise's object for an address. Apprise's own log would show addresses.

    Raises:
        NotDelivered: Apprise is not installed, or does not know such an address.
    """
    if find_spec("apprise") is None:
        raise NotDelivered(EXTRA)
    import apprise

    logging.getLogger("apprise").disabled = True
    service = apprise.Apprise.instantiate(address, suppress_exceptions=True)
    if service is None:
        raise NotDelivered("apprise does not know such an address")
    return service


def _post(address: str, payload: JsonObject) -> None:
    body = json.dumps(payload).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "sweeper"}
    try:
        request = Request(address, data=body, headers=headers, method="POST")  # noqa: S310  # checked
        with build_opener(_NoRedirects).open(request, timeout=TIMEOUT_S) as answer:
            answer.read(1)
    except HTTPError as error:
        error.close()
        # A chained error would show the address, which may be a secret.
        raise NotDelivered(f"HTTP {error.code}") from None
    except TimeoutError:
        raise NotDelivered(f"no answer within {TIMEOUT_S:.0f} s") from None
    except URLError as error:
        raise NotDelivered(_why(error.reason)) from None
    except (OSError, ValueError, HTTPException) as error:
        raise NotDelivered(_why(error)) from None


def _why(reason: object) -> str:
    """Return a reason without the text of unknown errors, which may show the address."""
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT_S:.0f} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return type(reason).__name__
