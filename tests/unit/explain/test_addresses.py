"""Addresses that are in use twice, and the names of the containers that have them."""

from __future__ import annotations

from scenes import BOX, GIVEN, cluster, with_kernel

from provisioner import causes
from provisioner.explain import problems


def test_a_container_with_one_more_address_is_named_by_that_of_its_engine(site):
    def more(links):
        return [
            {**link, "addr_info": [*link["addr_info"], {"family": "inet", "local": "10.99.0.1", "prefixlen": 24}]}
            if any(info.get("local") == GIVEN["node2"][0] for info in link["addr_info"])
            else link
            for link in links
        ]

    for seen, variant in ((cluster(site), ""), (cluster(site, listed=()), "unnamed")):
        changed = with_kernel(seen, "node2", f"space:{BOX['node2'].name}:addresses", more)
        (problem,) = [problem for problem in problems(changed) if problem.id == "gateway-given"]
        assert problem.variant == variant
        assert any("web-node2" in command for command in causes.to_run(problem)) == (not variant)
