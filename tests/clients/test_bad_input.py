"""What no good client sends: wrong signatures, expired links, unsigned headers, wrong checksums, cut and swollen
bodies, hostile names, huge pages, unknown refs, broken JSON. Each gets its status and code, changes nothing, and leaves
the server up.

Signed by hand (harness/sigv4.py). The facts are those of lakefs-api.md; where its area 33 says that Millpond does
better, that.
"""

import base64
import hashlib
import http.client
import json
import socket
import zlib

import pytest

from harness.server import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from harness.sigv4 import UNSIGNED, Signer, quote, timestamp, unsigned_chunks
from harness.wire import request_bytes, send, send_raw

DAY = 24 * 3600
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


class Door:
    """One repository with one committed and one staged object, and requests at it."""

    def __init__(self, server, repository):
        self.server, self.repository = server, repository
        self.bucket = repository.id
        self.signer = self.signer_with()
        main = repository.branch("main")
        main.object("kept/committed").upload(b"committed")
        self.head = main.commit("base").id
        repository.tag("v1").create("main")
        main.object("kept/staged").upload(b"staged")
        self.before = self.state()

    def signer_with(self, **keys):
        return Signer(f"127.0.0.1:{self.server.port}", **keys)

    def path(self, key):
        return f"/{self.bucket}/{quote(key, safe='/')}"

    def state(self):
        """Everything that a request might change."""
        main = self.repository.branch("main")
        return {
            "head": main.head.id,
            "objects": [(o.path, o.checksum, o.size_bytes, o.metadata) for o in main.objects()],
            "uncommitted": [(c.type, c.path) for c in main.uncommitted()],
            "branches": [(b.id, b.head.id) for b in self.repository.branches(show_hidden=True)],
            "tags": [(t.id, t.get_commit().id) for t in self.repository.tags()],
        }

    def put(self, key="main/new", body=b"body", headers=None, signer=None, **how):
        """A header-signed PUT; the payload hash is that of the body unless `how` says otherwise."""
        how.setdefault("payload_hash", sha256(body))
        path = self.path(key)
        signed = (signer or self.signer).headers("PUT", path, headers=headers, **how)
        return send(self.server, "PUT", path, signed, body)

    def request(self, method, path, query=(), body=b"", headers=None, **how):
        how.setdefault("payload_hash", sha256(body))
        signed = self.signer.headers(method, path, query, headers, **how)
        target = path + ("?" + "&".join(f"{quote(k)}={quote(v)}" for k, v in query) if query else "")
        return send(self.server, method, target, signed, body)


@pytest.fixture
def door(http_server, http_repository):
    """Checks afterwards that nothing changed and the server is up."""
    door = Door(http_server, http_repository)
    yield door
    assert http_server.alive()
    assert door.state() == door.before


@pytest.fixture
def tls_door(https_server):
    door = Door(https_server, https_server.new_repository(f"tls-{next(_names)}"))
    yield door
    assert https_server.alive()
    assert door.state() == door.before


_names = iter(range(1000))


def check(answer, status, *codes):
    statuses = status if isinstance(status, tuple) else (status,)
    assert answer.status in statuses and (not codes or answer.code in codes), str(answer)


def test_the_signer_signs(http_server, http_repository):
    """Were the hand-made signatures wrong, every refusal below would prove nothing."""
    door = Door(http_server, http_repository)
    check(door.put("main/a b+ü//c"), 200)
    check(door.put("main/unsigned", payload_hash=UNSIGNED), 200)
    get = send(http_server, "GET", door.signer.presign("GET", door.path("main/a b+ü//c")))
    assert (get.status, get.body) == (200, b"body")
    put = send(http_server, "PUT", door.signer.presign("PUT", door.path("main/link")), body=b"1")
    check(put, 200)
    chunked = chunked_put(door, SIGNED_CHUNKS, [b"a" * 70_000, b"b" * 10], key="main/chunks")
    check(chunked, 200)
    chunked = chunked_put(
        door, SIGNED_CHUNKS_TRAILER, [b"data"], ("x-amz-checksum-crc32", crc32(b"data")), key="main/c2"
    )
    check(chunked, 200)
    chunked = chunked_put(door, UNSIGNED_TRAILER, [b"data"], ("x-amz-checksum-crc32", crc32(b"data")), key="main/c3")
    check(chunked, 200)
    main = http_repository.branch("main")
    assert main.object("chunks").reader().read() == b"a" * 70_000 + b"b" * 10
    assert main.object("c2").reader().read() == main.object("c3").reader().read() == b"data"
    assert main.object("link").reader().read() == b"1"


# Signatures -----------------------------------------------------------------------------------------------


def test_wrong_secret(door):
    check(door.put(signer=door.signer_with(secret="not the secret")), 403, "SignatureDoesNotMatch")


def test_unknown_key(door):
    check(door.put(signer=door.signer_with(key_id="AKIAJNOBODYNOBODYNOQ")), 403, "InvalidAccessKeyId")


def test_signature_of_another_request(door):
    signed = door.signer.headers("PUT", door.path("main/a"), payload_hash=sha256(b"x"))
    check(send(door.server, "PUT", door.path("main/b"), signed, b"x"), 403, "SignatureDoesNotMatch")
    check(send(door.server, "DELETE", door.path("main/a"), signed), 403, "SignatureDoesNotMatch")
    check(send(door.server, "PUT", door.path("main/a") + "?uploads=", signed, b"x"), 403, "SignatureDoesNotMatch")


def test_another_service_in_the_scope(door):
    check(door.put(signer=door.signer_with(service="sts")), (400, 403))


@pytest.mark.parametrize("offset", [-16 * 60, 16 * 60, -DAY, DAY])
def test_clock_skew(door, offset):
    check(door.put(when=timestamp(offset)), 403, "RequestTimeTooSkewed", "AccessDenied")


def test_a_signed_header_that_was_not_sent(door):
    signed = door.signer.headers("PUT", door.path("main/new"), headers={"x-amz-meta-a": "1"}, payload_hash=UNSIGNED)
    del signed["x-amz-meta-a"]
    check(send(door.server, "PUT", door.path("main/new"), signed, b"x"), (400, 403))


def test_a_signed_header_with_another_value(door):
    signed = door.signer.headers("PUT", door.path("main/new"), headers={"x-amz-meta-a": "1"}, payload_hash=UNSIGNED)
    signed["x-amz-meta-a"] = "2"
    check(send(door.server, "PUT", door.path("main/new"), signed, b"x"), 403, "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    "name, value",
    [
        ("x-amz-copy-source", "/{bucket}/main/kept/committed"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-meta-owner", "someone else"),
        ("x-amz-acl", "public-read"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-checksum-crc32", crc32(b"body")),
        ("x-amz-metadata-directive", "REPLACE"),
    ],
)
def test_unsigned_amz_headers(door, name, value):
    value = value.format(bucket=door.bucket)
    check(door.put(headers={name: value}, unsigned=(name,)), 403, "AccessDenied", "SignatureDoesNotMatch")
    target = door.signer.presign("PUT", door.path("main/new"))
    answer = send(door.server, "PUT", target, {name: value}, b"body")
    check(answer, 403, "AccessDenied", "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    "authorization",
    [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=x",
        "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=" + "0" * 64,
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/20200101/us-east-1/s3/aws4_request, SignedHeaders=, Signature=",
        "AWS4-ECDSA-P256-SHA256 Credential=x, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256 " + "x" * 5000,
    ],
)
def test_malformed_authorization(door, authorization):
    headers = {"authorization": authorization, "x-amz-date": timestamp(), "x-amz-content-sha256": UNSIGNED}
    answer = send(door.server, "PUT", door.path("main/new"), headers, b"x")
    assert 400 <= answer.status < 500 and answer.code, str(answer)


def test_signature_version_2(door):
    headers = {"authorization": f"AWS {ACCESS_KEY_ID}:c2lnbmF0dXJl", "date": "Tue, 24 Nov 2026 17:00:00 GMT"}
    check(send(door.server, "PUT", door.path("main/new"), headers, b"x"), (400, 403))
    query = f"?AWSAccessKeyId={ACCESS_KEY_ID}&Expires=4102444800&Signature=c2ln"
    check(send(door.server, "GET", door.path("main/kept/staged") + query), (400, 403))


def test_anonymous_requests_are_refused(door):
    for method in ("PUT", "DELETE", "POST"):
        check(send(door.server, method, door.path("main/kept/staged"), body=b"x"), 403, "AccessDenied")
    answer = send(door.server, "GET", door.path("main/kept/staged"))
    assert b"staged" not in answer.body  # a page or a refusal, never the object


def test_header_and_query_credentials_together(door):
    target = door.signer.presign("PUT", door.path("main/new"))
    signed = door.signer.headers("PUT", door.path("main/new"), payload_hash=sha256(b"x"))
    check(send(door.server, "PUT", target, signed, b"x"), (400, 403))


# Presigned links ------------------------------------------------------------------------------------------


def test_expired_links(door):
    for method, key in (("GET", "main/kept/staged"), ("PUT", "main/new"), ("DELETE", "main/kept/staged")):
        target = door.signer.presign(method, door.path(key), expires="60", when=timestamp(-120))
        check(send(door.server, method, target, body=b""), 403, "AccessDenied")


def test_links_live_as_long_as_they_say(door):
    target = door.signer.presign("GET", door.path("main/kept/staged"), expires=str(DAY), when=timestamp(-DAY // 2))
    answer = send(door.server, "GET", target)
    assert (answer.status, answer.body) == (200, b"staged")


@pytest.mark.parametrize("expires", ["604801", "2592000", "-1", "abc", "", None, "1e3", "99999999999999999999"])
def test_expiry_out_of_bounds(door, expires):
    target = door.signer.presign("PUT", door.path("main/new"), expires=expires)
    check(send(door.server, "PUT", target, body=b"x"), (400, 403), "AuthorizationQueryParametersError", "MissingFields")


def test_links_from_the_future(door):
    target = door.signer.presign("GET", door.path("main/kept/staged"), when=timestamp(DAY))
    check(send(door.server, "GET", target), 403)


def test_changed_links(door):
    target = door.signer.presign("GET", door.path("main/kept/staged"))
    changed = (
        target.replace("staged", "committed"),
        target + "&response-content-type=text/html",
        target.replace("X-Amz-Expires=900", "X-Amz-Expires=90000"),
        target.replace("X-Amz-Signature=", "X-Amz-Signature=0"),
    )
    for other in changed:
        check(send(door.server, "GET", other), (400, 403))
    check(send(door.server, "DELETE", target), 403, "SignatureDoesNotMatch")


# Bodies and checksums -------------------------------------------------------------------------------------


def test_body_that_is_not_what_was_signed(door):
    for size in (0, 4, 100_000):
        answer = door.put(body=b"x" * size, payload_hash=sha256(b"something else"))
        check(answer, 400, "XAmzContentSHA256Mismatch")
    check(door.put(payload_hash="nonsense"), 400)


@pytest.mark.parametrize("size", [4, 100_000])
def test_wrong_content_md5(door, size):
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    check(door.put(body=b"x" * size, headers={"content-md5": wrong}), 400, "BadDigest")
    for malformed in ("short", "!!!not base64!!!", ""):
        check(door.put(headers={"content-md5": malformed}), 400, "InvalidDigest", "BadDigest")


@pytest.mark.parametrize(
    "algorithm, size", [("crc32", 4), ("crc32c", 4), ("crc64nvme", 8), ("sha1", 20), ("sha256", 32)]
)
def test_wrong_checksum_in_the_header(door, algorithm, size):
    name = f"x-amz-checksum-{algorithm}"
    wrong = base64.b64encode(b"\x01" * size).decode()
    mismatch = ("BadDigest", "XAmzContentChecksumMismatch", "InvalidRequest")
    for payload in (sha256(b"body"), UNSIGNED):
        check(door.put(headers={name: wrong}, payload_hash=payload), 400, *mismatch)
    check(door.put(body=b"x" * 100_000, headers={name: wrong}), 400, *mismatch)
    for malformed in ("x", base64.b64encode(b"\x01" * (size + 1)).decode()):
        check(door.put(headers={name: malformed}), 400)


def test_wrong_checksums_of_parts(door):
    created = door.request("POST", door.path("main/new"), [("uploads", "")])
    check(created, 200)
    upload = created.body.partition(b"<UploadId>")[2].partition(b"<")[0].decode()
    query = [("partNumber", "1"), ("uploadId", upload)]
    wrong = {"x-amz-checksum-crc32": crc32(b"other")}
    check(door.request("PUT", door.path("main/new"), query, b"part", wrong), 400)
    answer = door.request("PUT", door.path("main/new"), query, b"part", payload_hash=sha256(b"other"))
    check(answer, 400, "XAmzContentSHA256Mismatch")
    listed = door.request("GET", door.path("main/new"), [("uploadId", upload)])
    assert listed.status == 200 and b"<PartNumber>" not in listed.body, str(listed)
    for number in ("0", "10001", "-1", "x"):
        bad = [("partNumber", number), ("uploadId", upload)]
        check(door.request("PUT", door.path("main/new"), bad, b"part"), 400, "InvalidArgument")
    unknown = [("partNumber", "1"), ("uploadId", "no-such-upload")]
    check(door.request("PUT", door.path("main/new"), unknown, b"part"), 404, "NoSuchUpload")
    for body in (b"", b"<not xml", b"<CompleteMultipartUpload></CompleteMultipartUpload>", b"<a>" * 5000):
        answer = door.request("POST", door.path("main/new"), [("uploadId", upload)], body)
        check(answer, 400)
    check(door.request("DELETE", door.path("main/new"), [("uploadId", upload)]), 204)
    check(door.request("GET", door.path("main/new"), [("uploadId", upload)]), 404, "NoSuchUpload")


def chunked_put(door, mode, chunks, trailer=None, key="main/new", declared=None, body=None, **spoil):
    """A PUT in one of the chunked modes. `declared` replaces the decoded length, `body` the whole body."""
    headers = {
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(sum(map(len, chunks)) if declared is None else declared),
    }
    if trailer:
        headers["x-amz-trailer"] = trailer[0]
    path = door.path(key)
    signed = door.signer.headers("PUT", path, headers=headers, payload_hash=mode)
    if body is None and mode == UNSIGNED_TRAILER:
        body = unsigned_chunks(chunks, trailer)
    elif body is None:
        body = door.signer.signed_chunks(signed, chunks, trailer, **spoil)
    return send(door.server, "PUT", path, signed, body)


@pytest.mark.parametrize("spoiled", [0, 1, 2])
def test_wrong_chunk_signatures(door, spoiled):
    answer = chunked_put(door, SIGNED_CHUNKS, [b"a" * 65536, b"b" * 10], spoil_chunk=spoiled)
    check(answer, (400, 403), "SignatureDoesNotMatch", "IncompleteBody")


def test_wrong_trailers(door):
    name, right, wrong = "x-amz-checksum-crc32", crc32(b"data"), crc32(b"other")
    mismatch = ("BadDigest", "XAmzContentChecksumMismatch")
    check(chunked_put(door, UNSIGNED_TRAILER, [b"data"], (name, wrong)), 400, *mismatch)
    check(chunked_put(door, SIGNED_CHUNKS_TRAILER, [b"data"], (name, wrong)), 400, *mismatch)
    spoiled = chunked_put(door, SIGNED_CHUNKS_TRAILER, [b"data"], (name, right), spoil_trailer_signature=True)
    check(spoiled, (400, 403))
    missing = chunked_put(door, UNSIGNED_TRAILER, [b"data"], (name, right), body=unsigned_chunks([b"data"]))
    check(missing, 400)
    other = unsigned_chunks([b"data"], ("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="))
    check(chunked_put(door, UNSIGNED_TRAILER, [b"data"], (name, right), body=other), 400)


@pytest.mark.parametrize("mode", [UNSIGNED_TRAILER, SIGNED_CHUNKS])
def test_decoded_length_that_is_wrong(door, mode):
    for declared in (3, 5, 0, 10**9, "x", "-1"):
        answer = chunked_put(door, mode, [b"data"], declared=declared)
        check(answer, (400, 411, 413))


@pytest.mark.parametrize(
    "body",
    [
        b"zzz\r\ndata\r\n0\r\n\r\n",
        b"4\r\nda\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\ndata",
        b"4;x=" + b"y" * 100_000 + b"\r\ndata\r\n0\r\n\r\n",
        b"data",
        b"4\r\ndata\r\n",  # no last chunk
        b"",
    ],
)
def test_malformed_chunks(door, body):
    answer = chunked_put(door, UNSIGNED_TRAILER, [b"data"], body=body)
    check(answer, (400, 403))


def test_truncated_bodies(door):
    """The client goes away in the middle: whatever is answered, nothing may be stored."""
    for payload in (UNSIGNED, sha256(b"x" * 100_000)):
        signed = door.signer.headers("PUT", door.path("main/new"), payload_hash=payload)
        signed |= {"content-length": "100000", "connection": "close"}
        for sent in (0, 10, 99_999):
            answer = send_raw(door.server, request_bytes("PUT", door.path("main/new"), signed, b"x" * sent))
            assert answer.status == 0 or answer.status >= 400, str(answer)
    headers = {"Authorization": door.server.basic, "Host": "x", "Content-Length": "100000", "Connection": "close"}
    target = f"/api/v1/repositories/{door.bucket}/branches/main/objects?path=new"
    answer = send_raw(door.server, request_bytes("POST", target, headers, b"x" * 500))
    assert answer.status == 0 or answer.status >= 400, str(answer)


@pytest.mark.parametrize("expect", [True, False])
def test_a_refusal_before_the_body_leaves_no_dead_connection(door, expect):
    """A refusal may come without reading the body. A client that waited with it (boto3 does) may never send it, so
    only `Connection: close` is safe: without it the client keeps the connection and loses its next request. A body
    that is under way may be read away instead."""
    headers = {"if-none-match": "*"} | ({"expect": "100-continue"} if expect else {})
    path, body = door.path("main/kept/staged"), b"x" * 1000
    signed = door.signer.headers("PUT", path, headers=headers, payload_hash=sha256(body))
    signed["content-length"] = str(len(body))
    connection = door.server.connection()
    connection.connect()
    connection.sock.sendall(request_bytes("PUT", path, signed, b"" if expect else body))
    response = http.client.HTTPResponse(connection.sock, method="PUT")
    response.begin()
    response.read()
    assert response.status == 412
    assert response.will_close or not expect
    if not response.will_close:
        connection.sock.sendall(request_bytes("GET", "/_health", {"host": "x"}))
        second = http.client.HTTPResponse(connection.sock, method="GET")
        second.begin()
        assert second.status == 200
    connection.close()


def test_bodies_longer_than_declared(door):
    """What follows the declared length is another request, and no good one."""
    signed = door.signer.headers("PUT", door.path("main/new"), payload_hash=sha256(b"xxxx" * 10))
    signed |= {"content-length": "4", "connection": "close"}
    answer = send_raw(door.server, request_bytes("PUT", door.path("main/new"), signed, b"xxxx" * 10))
    check(answer, 400, "XAmzContentSHA256Mismatch")


def test_two_lengths(door):
    """Content-Length beside Transfer-Encoding: two readers could see two requests."""
    for name in ("Transfer-Encoding: chunked\r\nContent-Length: 4", "Content-Length: 4\r\nContent-Length: 5"):
        request = (
            f"POST /api/v1/repositories/{door.bucket}/branches/main/objects?path=new HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {door.server.basic}\r\n{name}\r\nConnection: close\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
        )
        answer = send_raw(door.server, request.encode())
        assert answer.status == 0 or answer.status >= 400, str(answer)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x00\x05hello",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 1000,
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage instead of frames",
    ],
)
def test_no_http_at_all(door, garbage):
    answer = send_raw(door.server, garbage)
    assert answer.status == 0 or answer.status >= 400, str(answer)


# Names and refs on the S3 door ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, status",
    [
        ("/no-such-bucket/main/a", 404),
        ("/Upper/main/a", (400, 404)),
        ("/under_score/main/a", (400, 404)),
        ("/a/main/a", (400, 404)),
        ("/" + "x" * 300 + "/main/a", (400, 404)),
        ("/{bucket}/no-such-branch/a", 404),
        ("/{bucket}/v1.0/a", (400, 403, 404, 405)),
        ("/{bucket}/main~1/a", (400, 403, 404, 405)),
        ("/{bucket}/v1/a", (400, 403, 404, 405)),
        ("/{bucket}/{head}/a", (400, 403, 404, 405)),
        ("/{bucket}/main", (400, 404, 405)),
        ("/{bucket}/main/" + "x" * 1025, 400),
        ("/{bucket}/main/" + "%C3%A9" * 513, 400),
        ("/{bucket}/main/%FF%FE", 400),
        ("/{bucket}/%2E%2E/a", (400, 404)),
        ("/../../etc/passwd", (400, 403, 404)),
        ("/{bucket}/main/a%ZZ", (400, 403)),
    ],
)
def test_hostile_names(door, path, status):
    path = path.format(bucket=door.bucket, head=door.head)
    check(door.request("PUT", path, body=b"x"), status)


@pytest.mark.parametrize("ref", ["none", "v1~99", "main^9", "main@@", "~", "0" * 64, "main~99999999999999999999"])
def test_unknown_refs(door, ref):
    """Reads of refs that are not there: 404 or 400, never 500."""
    path = f"/{door.bucket}/{quote(ref)}/kept/committed"
    check(door.request("GET", path), (400, 404))
    check(door.request("HEAD", path), (400, 404))
    check(door.request("GET", f"/{door.bucket}", [("list-type", "2"), ("prefix", f"{ref}/")]), (400, 404))
    for target in (
        f"refs/{quote(ref)}/objects?path=kept/committed",
        f"refs/{quote(ref)}/objects/ls",
        f"refs/{quote(ref)}/commits",
    ):
        status, _, body = door.server.api("GET", f"/repositories/{door.bucket}/{target}")
        assert status in (400, 404), (target, status, body)


@pytest.mark.parametrize("number", ["1000000000", "99999999999999999999999", "-1", "abc", "1.5", "", "0x10"])
def test_page_sizes(door, number):
    for key in ("max-keys", "max-uploads"):
        query = [("uploads", "")] if key == "max-uploads" else [("list-type", "2"), ("prefix", "main/")]
        answer = door.request("GET", f"/{door.bucket}", [*query, (key, number)])
        check(answer, (200, 400))
        if number in ("-1", "abc", "1.5", "0x10"):
            check(answer, 400, "InvalidArgument")
        elif number == "1000000000":
            check(answer, 200)
    for target in ("refs/main/objects/ls", "branches", "refs/main/commits", "tags", "refs/main/diff/v1"):
        status, _, body = door.server.api("GET", f"/repositories/{door.bucket}/{target}?amount={number}")
        assert status == (200 if number == "-1" else 400), (target, status, body)


def test_tokens_of_nobody(door):
    for token in ("garbage", "main/kept/staged", "A" * 5000, "", "%00"):
        query = [("list-type", "2"), ("prefix", "main/"), ("continuation-token", token)]
        answer = door.request("GET", f"/{door.bucket}", query)
        check(answer, (200, 400) if token in ("", "main/kept/staged") else 400)


def test_methods_and_sub_resources(door):
    path = door.path("main/kept/staged")
    for method in ("PATCH", "OPTIONS", "BREW"):
        answer = door.request(method, path)
        assert 400 <= answer.status < 600 and answer.status != 500, (method, str(answer))
    check(door.request("POST", path), (400, 405, 501))
    for resource in ("acl", "tagging", "retention", "legal-hold", "torrent"):
        check(door.request("PUT", path, [(resource, "")], b"<x/>"), (400, 405, 501))
    for resource in ("policy", "lifecycle", "cors", "versioning", "encryption", "website"):
        check(door.request("PUT", f"/{door.bucket}", [(resource, "")], b"<x/>"), (400, 405, 501))
        check(door.request("DELETE", f"/{door.bucket}", [(resource, "")]), (204, 400, 404, 405, 501))


def test_delete_objects_that_is_no_list(door):
    path = f"/{door.bucket}"
    thousand = "".join(f"<Object><Key>main/x{n}</Key></Object>" for n in range(1001))
    bodies = [b"", b"{}", b"<Delete>", b"<Delete></Delete>", f"<Delete>{thousand}</Delete>".encode()]
    bodies.append(
        b'<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>'
    )
    for body in bodies:
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        answer = door.request("POST", path, [("delete", "")], body, {"content-md5": md5})
        check(answer, 400)
    body = b"<Delete><Object><Key>main/kept/staged</Key></Object></Delete>"
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    check(door.request("POST", path, [("delete", "")], body, {"content-md5": wrong}), 400, "BadDigest")
    refs = b"<Delete><Object><Key>v1/kept/committed</Key></Object><Object><Key>none/x</Key></Object></Delete>"
    answer = door.request("POST", path, [("delete", "")], refs)
    assert answer.status == 200 and answer.body.count(b"<Error>") == 2, str(answer)


def test_copy_sources_that_lead_nowhere(door):
    for source in (
        "",
        "/",
        "x",
        f"/{door.bucket}",
        f"/{door.bucket}/main",
        "/none/main/a",
        f"/{door.bucket}/main/none",
        "%FF",
    ):
        answer = door.put(body=b"", headers={"x-amz-copy-source": source})
        check(answer, (400, 404))
    header = {"x-amz-copy-source": f"/{door.bucket}/main/kept/staged", "x-amz-metadata-directive": "NONSENSE"}
    check(door.put(body=b"", headers=header), 400)


def test_error_documents(door):
    answer = door.request("GET", door.path("main/none"))
    check(answer, 404, "NoSuchKey")
    assert answer.headers["content-type"].startswith(("application/xml", "text/xml"))
    for element in (b"<Code>", b"<Message>", b"<RequestId>", b"<Resource>"):
        assert element in answer.body
    request_id = answer.headers["x-amz-request-id"]
    assert request_id.encode() in answer.body
    assert SECRET_ACCESS_KEY.encode() not in answer.body


# Over https: the same guard -------------------------------------------------------------------------------


def test_the_guard_over_https(tls_door):
    door = tls_door
    check(door.put(signer=door.signer_with(secret="no")), 403, "SignatureDoesNotMatch")
    check(door.put(headers={"x-amz-tagging": "a=b"}, unsigned=("x-amz-tagging",)), 403)
    check(door.put(payload_hash=sha256(b"other")), 400, "XAmzContentSHA256Mismatch")
    wrong = chunked_put(door, UNSIGNED_TRAILER, [b"data"], ("x-amz-checksum-crc32", crc32(b"other")))
    check(wrong, 400, "BadDigest", "XAmzContentChecksumMismatch")


def test_plain_http_where_tls_is_spoken(https_server):
    """A request in the clear gets an answer or a closed connection; it never hangs or kills the listener."""
    with socket.create_connection(("127.0.0.1", https_server.port), timeout=20) as s:
        s.sendall(b"GET /_health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        s.recv(1000)
    assert https_server.alive()


# The API --------------------------------------------------------------------------------------------------


def api(door, method, target, body=None, content_type="application/json", **headers):
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    all_headers = {"Content-Type": content_type} if content_type else {}
    return door.server.api(method, f"/repositories/{door.bucket}{target}", body, {**all_headers, **headers})


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        '"text"',
        '{"message": 1}',
        "{}",
        '{"message": "m", "metadata": {"k": 1}}',
        '{"message": "m", "date": "yesterday"}',
        '\ufeff{"message": "m"}',
        "[" * 100_000,
    ],
)
def test_malformed_json(door, body):
    status, headers, answer = api(door, "POST", "/branches/main/commits", body.encode() if body else body)
    assert status == 400, (status, answer)


def test_wrong_content_type(door):
    for kind in ("text/plain", "application/xml", None):
        status, _, answer = api(door, "POST", "/branches/main/commits", {"message": "m"}, kind)
        assert status == 400, (kind, status, answer)


@pytest.mark.parametrize(
    "method, target, body, expected",
    [
        ("POST", "/branches", {"name": "a/b", "source": "main"}, 400),
        ("POST", "/branches", {"name": "x" * 10_000, "source": "main"}, (400, 404)),
        ("POST", "/branches", {"name": "x", "source": "none"}, 404),
        ("POST", "/branches", {"name": "main", "source": "main"}, 409),
        ("POST", "/branches", {"source": "main"}, 400),
        ("POST", "/tags", {"id": "a..b", "ref": "main"}, 400),
        ("POST", "/tags", {"id": "v1", "ref": "main"}, 409),
        ("POST", "/tags", {"id": "v2", "ref": "main$"}, 400),
        ("DELETE", "/branches/main", None, 403),
        ("DELETE", "/branches/none", None, 404),
        ("DELETE", "/tags/none", None, 404),
        ("GET", "/branches/main~1", None, 400),
        ("PUT", "/branches/main", {"type": "sideways"}, 400),
        ("PUT", "/branches/main", {"type": "object"}, 400),
        ("PUT", "/branches/none", {"type": "reset"}, 404),
        ("POST", "/branches/main/revert", {"ref": "none", "parent_number": 0}, 404),
        ("POST", "/branches/main/revert", {"ref": "main", "parent_number": -1}, 400),
        ("POST", "/branches/main/revert", {"ref": "main"}, 400),
        ("POST", "/branches/main/revert", {"ref": "main", "parent_number": 0}, 400),  # dirty
        ("POST", "/branches/main/cherry-pick", {"ref": "v1", "parent_number": 0}, 400),
        ("POST", "/refs/v1/merge/main", {"strategy": "coin-toss"}, 400),
        ("POST", "/refs/none/merge/main", {}, (400, 404)),
        ("POST", "/refs/v1/merge/none", {}, 404),
        ("GET", "/refs/main/diff/none", None, 404),
        ("GET", "/refs/main$/diff/main?type=two_dot", None, 400),
        ("GET", "/refs/main/diff/v1?type=four_dot", None, 400),
        ("GET", "/refs/main/commits?since=yesterday", None, 400),
        ("GET", "/refs/main/objects", None, 400),
        ("GET", "/refs/main/objects?path=", None, 400),
        ("GET", "/refs/main/objects?path=none", None, 404),
        ("GET", "/refs/main/objects/ls?prefix=" + "x" * 1025, None, 400),
        ("GET", "/refs/main/objects/ls?amount=1001", None, 400),
        ("GET", "/refs/main/objects/ls?amount=5&amount=6", None, 400),
        ("GET", "/refs/main/objects/stat?path=kept/staged&presign=maybe", None, 400),
        ("DELETE", "/branches/main/objects?path=", None, 400),
        ("DELETE", "/branches/none/objects?path=x", None, 404),
        ("POST", "/branches/main/objects/delete", {"paths": ["x"] * 1001}, 400),
        ("POST", "/branches/main/objects/delete", {"paths": "x"}, 400),
        ("POST", "/branches/main/objects/copy?dest_path=x", {"src_path": ""}, 400),
        ("POST", "/branches/main/objects/copy?dest_path=x", {"src_path": "none"}, 404),
        ("POST", "/branches/main/objects?path=" + "x" * 1025, {"a": 1}, 400),
        ("POST", "/branches/none/objects?path=x", {"a": 1}, 404),
        ("POST", "/branches/main~1/objects?path=x", {"a": 1}, 400),
        ("GET", "/nothing/here", None, 404),
        ("PATCH", "/branches/main", None, 404),
        ("GET", "/branches/", None, 404),
    ],
)
def test_api_refusals(door, method, target, body, expected):
    status, headers, answer = api(door, method, target, body, "application/json" if body is not None else None)
    assert status in (expected if isinstance(expected, tuple) else (expected,)), (status, answer)
    if answer and headers["Content-Type"] == "application/json":
        assert json.loads(answer)["message"]


def test_api_credentials(door):
    def status(authorization):
        connection = door.server.connection()
        headers = {"Authorization": authorization} if authorization else {}
        connection.request("GET", f"/api/v1/repositories/{door.bucket}", headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())["message"]

    def basic(user, password):
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    wrong = [
        basic(ACCESS_KEY_ID, "wrong"),
        basic("nobody", SECRET_ACCESS_KEY),
        basic("", ""),
        "Basic !!!",
        "Basic",
        "Bearer x.y.z",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiIsImV4cCI6NDEwMjQ0NDgwMH0.",
        "Digest x",
    ]
    for authorization in [*wrong, None]:
        assert status(authorization)[0] == 401, authorization


@pytest.mark.parametrize("text, expected", [
    ("bytes=0-2", 206), ("bytes=100-", 416), ("bytes=-0", 416), ("bytes=2-1", 416), ("bytes=0-1,3-4", 416),
    ("bytes=a-b", 400), ("lines=1-2", 400), ("bytes=99999999999999999999999-", 416),
])  # fmt: skip
def test_api_ranges(door, text, expected):
    status, headers, body = api(door, "GET", "/refs/main/objects?path=kept/staged", None, None, Range=text)
    assert status == expected, (status, body)
    if text == "bytes=100-":
        assert headers["Content-Range"] == "bytes */6"


def test_metrics_and_page_give_no_secret_away(door):
    for target in ("/", "/metrics", "/_health"):
        answer = send(door.server, "GET", target)
        assert answer.status == 200, (target, str(answer))
        assert SECRET_ACCESS_KEY.encode() not in answer.body and ACCESS_KEY_ID.encode() not in answer.body
    log = door.server.log_tail(10_000_000)
    assert SECRET_ACCESS_KEY not in log and "X-Amz-Signature=" not in log


def test_sigterm_ends_well_and_keeps_everything(own_server):
    repository = own_server.new_repository("calm")
    repository.branch("main").object("a").upload(b"1")
    assert own_server.stop() == 0
    own_server.start()
    assert repository.branch("main").object("a").reader().read() == b"1"
