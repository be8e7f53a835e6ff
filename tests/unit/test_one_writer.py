"""Lists the files that may change a host, a store or a swarm.

Every change uses a connection's `write` or `upload`, or runs within its `changing`. There the lock is checked, the
change is counted, and a test can kill the controller (tests/e2e/killed.py).
"""

from __future__ import annotations

import ast
from pathlib import Path

import provisioner
from provisioner.transport import Connection, Reader

PACKAGE = Path(provisioner.__file__).parent
LAYERS = (
    "runner",
    "workflows",
    "explain",
    "preflight",
    "steps",
    "proofs",
    "observe",
    "collect",
    "controlplane",
    "stores",
    "system",
)
CALLS = {
    "write": {"runner/converge.py", "runner/fix.py", "stores/etcd.py"},
    "upload": {"runner/converge.py"},
    "changing": {"stores/http.py", "stores/keys.py", "stores/zookeeper_keys.py"},
    # Code with its own connection to a store must make changes within `changing`. The four-letter words change nothing.
    "socket": {"stores/http.py", "stores/asking.py", "stores/zookeeper.py", "stores/zookeeper_keys.py"},
    "stream": {"proofs/probe.py", "observe/underlay.py", "collect/capture.py", "observe/drops.py"},
}
OTHERS = {"incoming"}  # TLS buffers, which also have a `write`


def calls(path: Path) -> set[str]:
    """The methods of a connection that a file calls."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
            of = node.func.value
            if not (isinstance(of, ast.Name) and of.id in OTHERS):
                found.add(node.func.attr)
    return found


def test_who_changes_hosts_and_stores():
    files = {
        str(path.relative_to(PACKAGE)): calls(path) for layer in LAYERS for path in (PACKAGE / layer).rglob("*.py")
    }
    assert {method: {path for path, found in files.items() if method in found} for method in CALLS} == CALLS


def test_a_reader_can_not_write():
    changes = {"write", "upload", "lock", "stream", "forward"}
    assert changes <= set(dir(Connection))
    assert not changes & set(dir(Reader))
