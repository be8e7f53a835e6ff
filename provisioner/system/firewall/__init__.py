"""The host's packet filter (stub, replaced)."""
PROBE = ""
FILES: tuple[str, ...] = ()
UNIT = "provisioner-firewall.service"
