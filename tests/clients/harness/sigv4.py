"""AWS signature version 4 by hand, so that tests can sign wrongly on purpose.

Follows the published algorithm: canonical request, string to sign, key derivation. Nothing here normalises or checks
its arguments; what is given is what is signed.
"""

import datetime
import hashlib
import hmac
import urllib.parse

from .server import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"


def quote(text, safe=""):
    return urllib.parse.quote(text, safe=safe + "-_.~")


def timestamp(offset_seconds=0):
    """Now plus an offset, in the basic ISO form."""
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=offset_seconds)
    return now.strftime("%Y%m%dT%H%M%SZ")


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signing_key(secret, date, region, service="s3"):
    key = _hmac(("AWS4" + secret).encode(), date)
    for part in (region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


def canonical_query(query):
    return "&".join(f"{quote(k)}={quote(v)}" for k, v in sorted(query))


class Signer:
    """Signs for one key. `secret`, `key_id`, `region` and `service` may be wrong ones."""

    def __init__(self, host, key_id=ACCESS_KEY_ID, secret=SECRET_ACCESS_KEY, region=REGION, service="s3"):
        self.host, self.key_id, self.secret, self.region, self.service = host, key_id, secret, region, service

    def _scope(self, when):
        return f"{when[:8]}/{self.region}/{self.service}/aws4_request"

    def _signature(self, method, path, query, headers, signed_names, payload_hash, when):
        canonical_headers = "".join(f"{n}:{' '.join(headers[n].split())}\n" for n in signed_names)
        request = "\n".join(
            [method, path, canonical_query(query), canonical_headers, ";".join(signed_names), payload_hash]
        )
        to_sign = "\n".join(["AWS4-HMAC-SHA256", when, self._scope(when), hashlib.sha256(request.encode()).hexdigest()])
        key = signing_key(self.secret, when[:8], self.region, self.service)
        return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()

    def headers(self, method, path, query=(), headers=None, payload_hash=UNSIGNED, when=None, unsigned=()):
        """All headers of a header-signed request. `path` is already percent-encoded. Names in `unsigned` are sent
        but left out of SignedHeaders."""
        when = when or timestamp()
        sent = {k.lower(): v for k, v in (headers or {}).items()}
        sent.setdefault("host", self.host)
        sent.setdefault("x-amz-date", when)
        sent.setdefault("x-amz-content-sha256", payload_hash)
        names = sorted(n for n in sent if n not in unsigned and n != "content-length")
        signature = self._signature(method, path, list(query), sent, names, sent["x-amz-content-sha256"], when)
        sent["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.key_id}/{self._scope(when)}, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}"
        )
        return sent

    def presign(self, method, path, expires="900", query=(), headers=None, when=None):
        """Target (path and query) of a presigned request. `headers` are signed and must then be sent. With
        `expires` None the parameter is left out."""
        when = when or timestamp()
        sent = {"host": self.host, **{k.lower(): v for k, v in (headers or {}).items()}}
        names = sorted(sent)
        query = [
            *query,
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"{self.key_id}/{self._scope(when)}"),
            ("X-Amz-Date", when),
            ("X-Amz-SignedHeaders", ";".join(names)),
        ]
        if expires is not None:
            query.append(("X-Amz-Expires", expires))
        signature = self._signature(method, path, query, sent, names, UNSIGNED, when)
        return f"{path}?{canonical_query([*query, ('X-Amz-Signature', signature)])}"

    # Chunked payloads -------------------------------------------------------------------------------------

    def signed_chunks(self, headers, chunks, trailer=None, spoil_chunk=None, spoil_trailer_signature=False):
        """Body of STREAMING-AWS4-HMAC-SHA256-PAYLOAD (with `trailer`, a (name, value), of -TRAILER) that follows
        the seed signature in `headers`. `spoil_chunk` names a chunk whose signature is made wrong."""
        when = headers["x-amz-date"]
        key = signing_key(self.secret, when[:8], self.region, self.service)
        previous = headers["authorization"].rpartition("Signature=")[2]
        body = b""
        for number, chunk in enumerate([*chunks, b""]):
            to_sign = "\n".join(
                [
                    "AWS4-HMAC-SHA256-PAYLOAD",
                    when,
                    self._scope(when),
                    previous,
                    EMPTY_SHA256,
                    hashlib.sha256(chunk).hexdigest(),
                ]
            )
            previous = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
            sent = "0" * 64 if number == spoil_chunk else previous
            body += f"{len(chunk):x};chunk-signature={sent}\r\n".encode() + chunk
            if chunk or trailer is None:
                body += b"\r\n"
        if trailer is not None:
            line = f"{trailer[0]}:{trailer[1]}\n"
            to_sign = "\n".join(
                [
                    "AWS4-HMAC-SHA256-TRAILER",
                    when,
                    self._scope(when),
                    previous,
                    hashlib.sha256(line.encode()).hexdigest(),
                ]
            )
            signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
            if spoil_trailer_signature:
                signature = "0" * 64
            body += f"{trailer[0]}:{trailer[1]}\r\nx-amz-trailer-signature:{signature}\r\n\r\n".encode()
        return body


def unsigned_chunks(chunks, trailer=None):
    """Body of STREAMING-UNSIGNED-PAYLOAD-TRAILER."""
    body = b"".join(f"{len(c):x}\r\n".encode() + c + b"\r\n" for c in chunks) + b"0\r\n"
    if trailer is not None:
        body += f"{trailer[0]}:{trailer[1]}\r\n".encode()
    return body + b"\r\n"
