"""Each mode of the proxy does to a small HTTP server what its name says."""

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.servers.ports import is_listening
from tests.support.servers.proxy import fault_proxy

BODY = b"x" * 100_000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args) -> None:
        pass


@pytest.fixture(scope="module")
def target():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *args: None  # that connections are cut is the point
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def proxy(target):
    with fault_proxy(target) as proxy:
        yield proxy


@pytest.fixture
def client(proxy):
    """A connection through the proxy that is kept open, with a short patience."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=0.5)
    yield connection
    connection.close()


def get(client) -> tuple[int, bytes]:
    client.request("GET", "/")
    response = client.getresponse()
    return response.status, response.read()


def test_it_passes_everything_at_first(proxy, client):
    assert get(client) == (200, BODY)
    assert get(client) == (200, BODY)
    assert proxy.num_connections == 1


def test_refuse_resets_what_is_open_and_takes_nothing_new(proxy, client):
    get(client)
    proxy.set("refuse")
    assert not is_listening(proxy.port)
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        get(client)
    proxy.set("pass")
    client.close()
    assert get(client) == (200, BODY)


def test_a_black_hole_answers_nobody_and_lets_go_at_its_end(proxy, client):
    get(client)
    proxy.set("black_hole")
    with pytest.raises(TimeoutError):
        get(client)
    client.close()
    client.request("GET", "/")  # taken, as a new connection is
    with pytest.raises(TimeoutError):
        client.sock.recv(1)
    threading.Timer(0.1, proxy.set, ["pass"]).start()
    assert client.getresponse().read() == BODY


def test_a_rate_takes_its_time(proxy, client):
    client.timeout = 5
    proxy.set("rate", 400_000)
    begun = time.monotonic()
    assert get(client) == (200, BODY)
    assert 0.25 < time.monotonic() - begun < 10


def test_a_connection_is_reset_after_so_many_bytes(proxy, client):
    proxy.set("reset_after", 50_000)
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        get(client)


def test_an_http_error_answers_requests_new_and_on_open_connections(proxy, client):
    assert get(client) == (200, BODY)
    proxy.set("http_error", 503)
    for _ in range(2):
        client.request("POST", "/", body=BODY)
        response = client.getresponse()
        assert (response.status, response.read()) == (503, b"")
    proxy.set("pass")
    client.close()
    assert get(client) == (200, BODY)


def test_a_closed_one_is_gone(target):
    with fault_proxy(target) as proxy:
        assert is_listening(proxy.port)
    assert not is_listening(proxy.port)


def test_a_target_that_is_away_looks_like_a_reset(client, proxy):
    proxy.target = 1
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        get(client)
