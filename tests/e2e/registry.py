"""A read-only registry with one plugin. It implements the part of the distribution API that an engine uses to pull.

Arguments: ADDRESS PORT LOGIN, and tar files with config.json and rootfs/. LOGIN: the required NAME:PASSWORD, or "". Every name
and tag refers to the first tar file. Each time a client fetches a configuration, all tags move to the next file.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import sys
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.plugin.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def parts(path: str) -> tuple[bytes, dict[str, bytes]]:
    """The manifest, and its blobs by digest."""
    layer = io.BytesIO()
    with tarfile.open(path) as archive, tarfile.open(fileobj=layer, mode="w") as rootfs:
        config = json.load(archive.extractfile("config.json"))
        for member in archive:
            if member.name.startswith("rootfs/"):
                data = archive.extractfile(member) if member.isfile() else None
                member.name = member.name.removeprefix("rootfs/")
                rootfs.addfile(member, data)
    config["rootfs"] = {"type": "layers", "diff_ids": [digest(layer.getvalue())]}
    blobs = {_CONFIG: json.dumps(config).encode(), _LAYER: gzip.compress(layer.getvalue(), 1, mtime=0)}
    entries = [{"mediaType": kind, "size": len(data), "digest": digest(data)} for kind, data in blobs.items()]
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": entries[0], "layers": entries[1:]}
    return json.dumps(manifest).encode(), {digest(data): data for data in blobs.values()}


def main(address: str, port: str, login: str, *paths: str) -> None:
    plugins = [parts(path) for path in paths]
    manifests = {digest(manifest): manifest for manifest, _ in plugins}
    blobs = {name: data for _, found in plugins for name, data in found.items()}
    tags = [manifest for manifest, _ in plugins]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if login and self.headers["Authorization"] != "Basic " + base64.b64encode(login.encode()).decode():
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            kind, name = self.path.rpartition("/")[0].rpartition("/")[2], self.path.rpartition("/")[2]
            data = (
                manifests.get(name, tags[0]) if kind == "manifests" else blobs.get(name) if kind == "blobs" else b"{}"
            )
            if self.command == "GET" and kind == "blobs" and data and data.startswith(b"{") and len(tags) > 1:
                tags.pop(0)
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Type", _MANIFEST if kind == "manifests" else "application/octet-stream")
            self.send_header("Content-Length", str(len(data or b"")))
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            if data:
                self.send_header("Docker-Content-Digest", digest(data))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data or b"")

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((address, int(port)), Handler)
    print("serving", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
