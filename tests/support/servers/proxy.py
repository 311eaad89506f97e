"""A TCP proxy that a test may make refuse, hang, crawl, cut or answer nonsense while it runs."""

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from tests.support.servers.ports import free_port

CHUNK = 16 * 1024
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)


Name = Literal["pass", "refuse", "black_hole", "rate", "reset_after", "http_error"]


@dataclass(frozen=True)
class Mode:
    """The ways in which traffic is treated.

    pass         it goes through               rate         `amount` bytes a second pass
    refuse       nobody is let in              reset_after  `amount` bytes pass, then a reset
    black_hole   taken, and never answered     http_error   requests get the status `amount`
    """

    name: Name
    amount: float = 0.0


class FaultProxy:
    """Passes what comes to `port` on to `target` on loopback. A mode holds for open connections
    as well: `refuse` resets them, and what a black hole has swallowed goes through once it ends."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, free_port()
        self.num_connections = 0  # so far
        self._mode, self._changed = Mode("pass"), asyncio.Event()
        self._listener: socket.socket | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.set("pass")

    def set(self, name: Name, amount: float = 0.0) -> None:
        """Change the mode; it holds when this returns."""
        turn = self._turn(Mode(name, amount))
        asyncio.run_coroutine_threadsafe(turn, self._loop).result(10)

    def close(self) -> None:
        """Reset all connections, and stop."""
        self.set("refuse")
        # Transports close in a later turn of the loop. One that it never gets to is left unclosed.
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.5), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _turn(self, mode: Mode) -> None:
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        if mode.name != "refuse" and self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener, self._accept, self._listener)
        elif mode.name == "refuse" and self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
            connections = list(self._connections)
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        client.setblocking(False)
        self.num_connections += 1
        task = self._loop.create_task(self._serve(client))
        self._connections.add(task)
        task.add_done_callback(partial(self._forget, client))

    def _forget(self, client: socket.socket, task: "asyncio.Task[None]") -> None:
        self._connections.discard(task)
        client.close()  # which a task that was cancelled before it began has not done

    async def _serve(self, client: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=client)
        open_writers = [writer]
        try:
            await self._outside_black_holes()
            if self._mode.name == "http_error":
                await self._answer_error(reader, writer, b"")
                return
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
            open_writers.append(server_writer)
            spent = [0]  # bytes in both directions
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(server_reader, writer, spent))
                both.create_task(self._pump(reader, server_writer, spent, client=writer))
        except* (OSError, asyncio.CancelledError):
            for one in open_writers:
                _reset(one)
        finally:
            for one in open_writers:
                one.close()
            # `refuse` may cancel a connection that is ending: each is waited for all the same.
            for one in open_writers:
                with suppress(OSError, asyncio.CancelledError):
                    await one.wait_closed()

    async def _outside_black_holes(self) -> None:
        while self._mode.name == "black_hole":
            await self._changed.wait()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        spent: list[int],
        client: asyncio.StreamWriter | None = None,
    ) -> None:
        """Pass one direction on; `client` is set in that from the client."""
        while piece := await reader.read(CHUNK):
            await self._outside_black_holes()
            mode = self._mode
            if mode.name == "http_error" and client is not None:
                await self._answer_error(reader, client, piece)
                raise ConnectionAbortedError
            if mode.name == "rate":
                await asyncio.sleep(len(piece) / mode.amount)
            spent[0] += len(piece)
            if mode.name == "reset_after" and spent[0] > mode.amount:
                raise ConnectionResetError
            writer.write(piece)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    async def _answer_error(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begun: bytes
    ) -> None:
        """Read the rest of a request, and answer with the status."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                while b"\r\n\r\n" not in begun and (piece := await reader.read(CHUNK)):
                    begun += piece
                head, _, body = begun.partition(b"\r\n\r\n")
                length = LENGTH.search(head)
                left = int(length[1]) - len(body) if length else 0
                while left > 0 and (piece := await reader.read(CHUNK)):
                    left -= len(piece)
        head = f"HTTP/1.1 {self._mode.amount:.0f} Fault\r\nContent-Length: 0\r\nConnection: close"
        writer.write(f"{head}\r\n\r\n".encode())
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that its other end gets an error, and not the end of a stream."""
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def fault_proxy(target: int) -> Iterator[FaultProxy]:
    """Yield a proxy to the port `target`, which passes everything at first."""
    proxy = FaultProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
