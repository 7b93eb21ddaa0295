"""Raw requests: sends exactly what it is told and gives back status, S3 error code and body."""

import contextlib
import re
import socket
from dataclasses import dataclass


@dataclass
class Answer:
    """Header names are lower case. `status` is 0 when the server closed the connection without an answer."""

    status: int
    headers: dict
    body: bytes

    @property
    def code(self):
        """The code of an S3 error document, or None."""
        found = re.search(rb"<Code>([^<]*)</Code>", self.body)
        return found.group(1).decode() if found else None

    def __str__(self):
        return f"{self.status} {self.code or ''} {self.body[:300]!r}"


def send(server, method, target, headers=None, body=b""):
    """One request by `http.client`, which adds neither headers nor encodings here. Names and values as given."""
    connection = server.connection()
    try:
        connection.putrequest(method, target, skip_host="host" in (headers or {}), skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if "content-length" not in {n.lower() for n in headers or {}} and (body or method in ("PUT", "POST")):
            connection.putheader("content-length", str(len(body)))
        connection.endheaders()
        if body:
            try:
                connection.send(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before the body was read; the answer may be there all the same
        response = connection.getresponse()
        return Answer(response.status, {n.lower(): v for n, v in response.headers.items()}, response.read())
    finally:
        connection.close()


def send_raw(server, request, half_close=True):
    """Bytes onto a socket, then (with `half_close`, in the clear) end of input; reads until the server closes."""
    with server.socket() as s:
        try:
            s.sendall(request)
        except OSError:
            pass
        if half_close and not server.certificates:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while chunk := s.recv(65536):
                received += chunk
        except OSError:
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/") else 0
    return Answer(status, {}, body)


def request_bytes(method, target, headers, body=b""):
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items())
    return head.encode() + b"\r\n" + body
