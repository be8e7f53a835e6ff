"""The lines of a file that name a host."""

from __future__ import annotations

import pytest

from provisioner.inventory.mentions import lines_about

TEXT = """\
cluster: node1
hosts:
  node0: &base {address: 192.0.2.10, user: admin}
  # the first
  node1:
    address: 192.0.2.11
    port: 2222

  node2: {<<: *base, address: 192.0.2.12}
store:
  kind: consul
  servers: [node1, node2]
networks:
  demo: {subnet: 10.99.0.0/24}
  wire: {driver: macvlan, parent: {node1: eth1, node2: eth2}}
"""


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("node0", ("line 3",)),
        ("node1", ("lines 5-7", "line 12 (store.servers)", "line 15 (networks.wire.parent)")),
        ("node2", ("line 9", "line 12 (store.servers)", "line 15 (networks.wire.parent)")),
        ("node3", ()),
    ],
)
def test_lines(tmp_path, host, expected):
    file = tmp_path / "a.yml"
    file.write_text(TEXT)
    assert lines_about(file, host) == expected


def test_a_file_that_can_t_be_read(tmp_path):
    assert lines_about(tmp_path / "none.yml", "node1") == ()
