"""A hub on this machine: what of the model hub's interface its own client asks for, over HTTP, with files in memory.

Written against what `huggingface_hub` sends: repositories are made, files committed unchanged (no large-file
storage), listed and fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub:
    """The repositories of a hub.

    Attributes:
        files: The files of each repository by their paths, by the repository's name.
        private: The names of the repositories that not everybody may see.
        asked: Every request: its method and path.
        address: The URL of the hub.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.asked: list[str] = []
        self.address = ""

    def commit(self, name: str) -> str:
        """Return what stands for the present state of a repository."""
        state = sorted((path, hashlib.sha256(content).hexdigest()) for path, content in self.files[name].items())
        return hashlib.sha1(json.dumps(state).encode()).hexdigest()  # git's own


@contextmanager
def running() -> Iterator[Hub]:
    """Return a hub that answers as long as the block lasts."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_POST(self) -> None:
        path, body = self._path(), self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            values = json.loads(body)
            name = f"{values['organization']}/{values['name']}" if values.get("organization") else values["name"]
            self.hub.files.setdefault(name, {})
            is_private = (
                values.get("private") or values.get("visibility") == "private"
            )  # the client before 2.0, and since
            self.hub.private.setdefault(name, bool(is_private))
            self._json({"url": f"{self.hub.address}/{name}", "name": name, "id": name})
        elif path == "/api/validate-yaml":
            self._json({"warnings": [], "errors": []})
        elif "/preupload/" in path:
            given = json.loads(body)["files"]
            regular = {"uploadMode": "regular", "shouldIgnore": False}
            self._json({"files": [{"path": each["path"], **regular} for each in given]})
        elif "/commit/" in path:
            name = path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.hub.files[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            commit = self.hub.commit(name)
            self._json(
                {"commitOid": commit, "commitUrl": f"{self.hub.address}/{name}/commit/{commit}", "success": True}
            )
        else:
            self._json({"error": "no such thing"}, 404)

    def _get(self) -> None:
        path = self._path()
        if path.startswith("/api/models/"):
            name = path.removeprefix("/api/models/").partition("/revision/")[0].partition("/tree/")[0]
            if name not in self.hub.files:
                self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            elif "/tree/" in path:
                self._json([_entry(each, content) for each, content in self.hub.files[name].items()])
            else:
                siblings = [{"rfilename": each, "size": len(content)} for each, content in self.hub.files[name].items()]
                commit = self.hub.commit(name)
                self._json({"id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": []})
        elif "/resolve/" in path:
            name, _, rest = path.lstrip("/").partition("/resolve/")
            content = self.hub.files.get(name, {}).get(rest.partition("/")[2])
            if content is None:
                self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            else:
                etag = hashlib.sha1(content).hexdigest()
                self._send(content, 200, {"ETag": f'"{etag}"', "X-Repo-Commit": self.hub.commit(name)})
        else:
            self._json({"error": "no such thing"}, 404)

    def _path(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        return path

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entry(path: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
