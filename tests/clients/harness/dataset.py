"""The real files of the main job: a tree of thousands of files, taken from the Python environment that runs it."""

import hashlib
import json
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

SMALL_BYTES_MAX = 200_000
BIG_BYTES_MAX = 12_000_000
BIG_FILES = 3


def real_files(count):
    """`count` files as {relative path: bytes}: the first small ones in path order, and a few above the size at
    which boto3 turns to multipart. The same environment gives the same files."""
    root = Path(sysconfig.get_paths()["purelib"])
    found = {}
    big = []
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or "__pycache__" in path.parts and len(found) % 3:
            continue
        size = path.stat().st_size
        if SMALL_BYTES_MAX < size:
            if 8_500_000 < size <= BIG_BYTES_MAX and len(big) < BIG_FILES:
                big.append(path)
            continue
        if len(found) < count:
            found[path.relative_to(root).as_posix()] = path.read_bytes()
    for path in big:
        found[path.relative_to(root).as_posix()] = path.read_bytes()
    return found


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def hashes(files):
    """{path: SHA-256} of {path: bytes}."""
    return {path: sha256(data) for path, data in files.items()}


def in_threads(workers, function, items):
    """Runs `function` on every item; the first failure is raised."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, items))


def list_all(server, repository, ref):
    """Every path at `ref`, by the API, page by page: {path: (size, MD5)}."""
    found, after = {}, ""
    while True:
        status, _, body = server.api(
            "GET", f"/repositories/{repository}/refs/{ref}/objects/ls?amount=1000&after={quote(after, safe='')}"
        )
        assert status == 200, (status, body)
        page = json.loads(body)
        for item in page["results"]:
            assert item["path"] not in found, f"{item['path']} is listed twice"
            found[item["path"]] = (item["size_bytes"], item["checksum"])
        if not page["pagination"]["has_more"]:
            return found
        after = page["pagination"]["next_offset"]


def read_all(server, repository, ref, paths, workers=4):
    """SHA-256 of every path at `ref`, read through the API over connections that stay open."""
    paths = sorted(paths)

    def part(number):
        connection = server.connection()
        result = {}
        for path in paths[number::workers]:
            target = f"/api/v1/repositories/{repository}/refs/{ref}/objects?path={quote(path, safe='')}"
            connection.request("GET", target, headers={"Authorization": server.basic})
            response = connection.getresponse()
            data = response.read()
            assert response.status == 200, (path, response.status, data[:200])
            result[path] = sha256(data)
        connection.close()
        return result

    merged = {}
    for result in in_threads(workers, part, range(workers)):
        merged.update(result)
    return merged
