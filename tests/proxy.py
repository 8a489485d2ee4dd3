"""A TCP proxy that can fall silent or cut connections, as networks do."""

import contextlib
import selectors
import socket
import threading


class Proxy:
    """Passes bytes both ways until told otherwise."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._silent = threading.Event()
        self._left: int | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._open = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def fall_silent(self) -> None:
        """Swallow everything from now on: no answer, no reset."""
        self._silent.set()

    def cut_after(self, size: int) -> None:
        """Reset each connection when this many further bytes have come from the server."""
        self._left = size

    def close(self) -> None:
        self._open = False
        self._thread.join()
        for end in (self._listener, *(end for pair in self._pairs for end in pair)):
            end.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ, None)
            while self._open:
                for key, _ in selector.select(timeout=0.05):
                    if key.data is None:
                        self._accept(selector)
                    elif not self._silent.is_set():
                        self._pass(selector, key.fileobj, key.data)  # type: ignore[arg-type]

    def _accept(self, selector: selectors.BaseSelector) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._target))
        self._pairs.append((near, far))
        selector.register(near, selectors.EVENT_READ, (far, False))
        selector.register(far, selectors.EVENT_READ, (near, True))

    def _pass(self, selector: selectors.BaseSelector, source: socket.socket, route: tuple[socket.socket, bool]) -> None:
        target, from_server = route
        with contextlib.suppress(OSError):
            data = source.recv(65536)
            if from_server and self._left is not None:
                data, self._left = data[: self._left], max(0, self._left - len(data))
            if data:
                target.sendall(data)
            if data and self._left != 0:
                return
        for end in (source, target):
            with contextlib.suppress(KeyError, ValueError):
                selector.unregister(end)
            end.close()
