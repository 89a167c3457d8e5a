"""A small STAC API over HTTP for the tests: pages, faults on demand, signed links that expire, COGs by ranges."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter, deque
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import shapely
from shapely.geometry import shape

PAGE = 3  # items, so that a handful of scenes needs several pages


class StacServer:
    """Serves items and the files of a folder.

    Attributes:
        items: of the collection.
        collection: its description; None answers 404 to any collection.
        faults: kind of request (landing, collection, search, token, files) -> what its next requests get: an
            HTTP status, (status, seconds of Retry-After), "half" (a body cut off), "garbage", "close" or "hang"
            (nothing before ``go_on`` is set, and ``hanging`` tells).
        broken: names of files of which only half is there.
        signed: links need a token.
        token_uses: requests that a token is good for; then it has expired.
        seen: requests by kind.
        times: of all requests by kind, seconds.
    """

    def __init__(self, folder: Path, collection: dict) -> None:
        self.folder, self.collection = folder, collection
        self.items: list[dict] = []
        self.faults: dict[str, deque] = {}
        self.broken: set[str] = set()
        self.signed = False
        self.token_uses = 1_000_000
        self.tokens: Counter[str] = Counter()
        self.refused = 0
        self.seen: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {}
        self.lock = threading.Lock()
        self.hanging, self.go_on = threading.Event(), threading.Event()
        self.bodies: list[dict] = []
        handler = type("Handler", (_Handler,), {"world": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> StacServer:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def search(self, wanted: dict) -> list[dict]:
        """Items that a search asks for."""
        first, last = (datetime.fromisoformat(text) for text in wanted["datetime"].split("/"))
        area = shapely.box(*wanted["bbox"]) if wanted.get("bbox") else None
        if wanted.get("intersects"):
            area = shape(wanted["intersects"])
        limit = wanted.get("query", {}).get("eo:cloud_cover", {}).get("lte", 100)
        return [
            item
            for item in self.items
            if item["collection"] in wanted["collections"]
            and first <= datetime.fromisoformat(item["properties"]["datetime"]) <= last
            and (area is None or shape(item["geometry"]).intersects(area))
            and item["properties"].get("eo:cloud_cover", 0) <= limit
        ]


class _Handler(BaseHTTPRequestHandler):
    world: StacServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        kind = (url.path.strip("/") or "landing").split("/")[0]
        if kind == "collections":
            kind = "collection"
        with self.world.lock:
            self.world.seen[kind] += 1
            self.world.times.setdefault(kind, []).append(time.monotonic())
            faults = self.world.faults.get(kind)
            fault = faults.popleft() if faults else None
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault == "hang":
            self.world.hanging.set()
            self.world.go_on.wait()
        if fault in ("close", "hang"):
            self.close_connection = True
        elif isinstance(fault, tuple):
            self._send(fault[0], b"not now", {"Retry-After": str(fault[1])})
        elif isinstance(fault, int):
            self._send(fault, b"not now")
        elif fault == "garbage":
            self._send(200, b"<html>a page of advertisements</html>")
        else:
            self._answer(kind, url, body, half=fault == "half")

    do_POST = do_HEAD = do_GET

    def _answer(self, kind: str, url, body: bytes, half: bool) -> None:
        base = self.world.address
        if kind == "landing":
            links = [
                {"rel": "self", "href": base},
                {"rel": "data", "href": f"{base}/collections"},
                {"rel": "search", "href": f"{base}/search", "method": "GET"},
                {"rel": "search", "href": f"{base}/search", "method": "POST"},
            ]
            conforms = [f"https://api.stacspec.org/v1.0.0/item-search{part}" for part in ("", "#query")]
            content = {"type": "Catalog", "id": "test", "description": "-", "stac_version": "1.0.0"}
            self._json({**content, "links": links, "conformsTo": conforms}, half)
        elif kind == "collection":
            if url.path == "/collections":
                self._json({"collections": [self.world.collection], "links": []}, half)
            elif url.path == f"/collections/{self.world.collection['id']}":
                self._json(self.world.collection, half)
            else:
                self._send(404, b'{"code": "NotFound"}')
        elif kind == "search":
            wanted = json.loads(body) if self.command == "POST" else _from_query(url.query)
            self._search(wanted, half)
        elif kind == "token":
            self._token()
        else:
            self._file(url, half)

    def _search(self, wanted: dict, half: bool) -> None:
        with self.world.lock:
            self.world.bodies.append(wanted)
        found = self.world.search(wanted)
        start = int(wanted.get("token", 0))
        links = []
        if start + PAGE < len(found):
            link = {"rel": "next", "href": f"{self.world.address}/search", "method": "POST"}
            links.append({**link, "body": {**wanted, "token": str(start + PAGE)}})
        page = {"type": "FeatureCollection", "features": found[start : start + PAGE], "links": links}
        self._json(page, half)

    def _token(self) -> None:
        with self.world.lock:
            sig = f"s{len(self.world.tokens)}"
            self.world.tokens[sig] = 0
        expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._json({"token": f"se={expiry}&sp=r&sig={sig}", "msft:expiry": expiry}, False)

    def _file(self, url, half: bool) -> None:
        with self.world.lock:
            sig = parse_qs(url.query).get("sig", [""])[0]
            refused = self.world.signed and self.world.tokens.get(sig, self.world.token_uses) >= self.world.token_uses
            self.world.refused += refused
            self.world.tokens[sig] += 1
        path = self.world.folder / url.path.removeprefix("/files/")
        if refused:
            self._send(403, b"the signature has expired")
        elif not path.is_file():
            self._send(404, b"no such file")
        else:
            content = path.read_bytes()
            if path.name in self.world.broken:
                content = content[: len(content) // 2]
            self._send_range(content, half)

    def _send_range(self, content: bytes, half: bool) -> None:
        asked = self.headers.get("Range")
        if not asked:
            self._send(200, content, {"Accept-Ranges": "bytes"}, half)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        end = min(int(last) if last else len(content) - 1, len(content) - 1)
        if int(first) > end:
            self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        headers = {"Content-Range": f"bytes {first}-{end}/{len(content)}", "Accept-Ranges": "bytes"}
        self._send(206, content[int(first) : end + 1], headers, half)

    def _json(self, content: dict, half: bool) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"}, half)

    def _send(self, status: int, body: bytes, headers: dict | None = None, half: bool = False) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):  # who asked may have gone
                self.wfile.write(body[: len(body) // 2] if half else body)
        self.close_connection |= half


def _from_query(query: str) -> dict:
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    fields["collections"] = fields["collections"].split(",")
    if "bbox" in fields:
        fields["bbox"] = [float(part) for part in fields["bbox"].split(",")]
    return fields
