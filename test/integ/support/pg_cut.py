# SPDX-License-Identifier: Apache-2.0
"""A way to a PostgreSQL server that can be cut: a socket of its own, whose connections are carried on to the server's."""

import pathlib
import select
import socket
import threading
import urllib.parse

PORT = 5432  # of the socket's name; no port is opened


def split_url(url):
    """(head, query) of a URL of PostgreSQL."""
    head, _, query = url.partition("?")
    return head, dict(urllib.parse.parse_qsl(query))


class PgCut:
    """Carries connections until `cut` is called."""

    def __init__(self, url, folder):
        self.head, self.query = split_url(url)
        server = urllib.parse.urlsplit(self.head)
        host = self.query.get("host") or server.hostname or "localhost"
        port = int(self.query.get("port") or server.port or PORT)
        self.target = (f"{host}/.s.PGSQL.{port}", None) if host.startswith("/") else (host, port)
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / f".s.PGSQL.{PORT}"))
        self.listener.listen(64)
        self.is_cut = threading.Event()
        self.wake, self.woken = socket.socketpair()
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def url(self):
        """The server's URL by this way."""
        parts = urllib.parse.urlsplit(self.head)
        user = f"{parts.username}@" if parts.username else ""
        query = {**self.query, "host": str(self.folder), "port": str(PORT)}
        return f"{parts.scheme}://{user}{parts.path}?{urllib.parse.urlencode(query, safe='/')}"

    def connect(self):
        path, port = self.target
        if port is not None:
            return socket.create_connection((path, port))
        to_server = socket.socket(socket.AF_UNIX)
        to_server.connect(path)
        return to_server

    def carry(self):
        other = {}
        while not self.is_cut.is_set():
            for ready in select.select([self.listener, self.woken, *other], [], [])[0]:
                if ready is self.listener:
                    client, server = self.listener.accept()[0], self.connect()
                    other[client], other[server] = server, client
                elif ready in other:
                    self.carry_piece(other, ready)
        for end in (self.listener, *other):
            end.close()

    @staticmethod
    def carry_piece(other, ready):
        try:
            data = ready.recv(65536)
            if data:
                other[ready].sendall(data)
                return
        except OSError:
            pass
        for end in (other.pop(ready), ready):
            other.pop(end, None)
            end.close()

    def cut(self):
        """Every connection breaks, and none comes about again."""
        self.is_cut.set()
        self.wake.send(b"x")
        self.thread.join()
        (self.folder / f".s.PGSQL.{PORT}").unlink()
        self.wake.close()
        self.woken.close()
