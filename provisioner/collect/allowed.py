"""What is kept of the JSON answers of engines, and of daemon.json: only fields without secrets. All others are left out. Pure."""

from __future__ import annotations

import re
from typing import Any

from provisioner.collect.scrub import REMOVED

ALL, NAMES = "all", "names"  # keep a value as it is; keep only the names of NAME=VALUE entries or of an object's fields
Shape = (
    str | dict[str, Any]
)  # field -> what to keep of it; "*": of every other field. Lists: what to keep of each element
_NAME = re.compile(r"[\w./-]{1,200}")


def kept(value: Any, shape: Shape) -> Any:
    """Return the part of a value that the shape describes."""
    if shape == NAMES:
        return _names(value)
    if isinstance(shape, str):
        return value
    if isinstance(value, list):
        return [kept(item, shape) for item in value]
    if isinstance(value, dict):
        fields = {key: shape.get(key, shape.get("*")) for key in value}
        return {key: kept(value[key], inner) for key, inner in fields.items() if inner is not None}
    return value if value is None else REMOVED


def _names(value: Any) -> Any:
    if isinstance(value, dict):
        return dict.fromkeys(value, REMOVED)
    if isinstance(value, list):
        words = [str(item).partition("=") for item in value]
        return [f"{name}={REMOVED}" if sign else name if _NAME.fullmatch(name) else REMOVED for name, sign, _ in words]
    return value if value is None else REMOVED


def _all(*names: str, **others: Shape) -> Shape:
    return dict.fromkeys(names, ALL) | others


_DRIVER = {"Name": ALL, "Options": NAMES}
_SETTINGS = _all(
    "Bridge", "SandboxID", "SandboxKey", "Ports", "Gateway", "IPAddress", "IPPrefixLen", "MacAddress", "HairpinMode",
    Networks={"*": _all(
        "IPAMConfig", "Links", "Aliases", "NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "MacAddress",
        "DNSNames", "GlobalIPv6Address", "IPv6Gateway", DriverOpts=NAMES,
    )},
)  # fmt: skip
CONTAINER = _all(
    "Id", "Created", "Name", "Image", "RestartCount", "Driver", "Platform",
    State=_all("Status", "Running", "Paused", "Restarting", "OOMKilled", "Dead", "Pid", "ExitCode", "StartedAt", "FinishedAt", "Error"),
    Config=_all("Hostname", "Domainname", "ExposedPorts", "Image", Env=NAMES, Labels=NAMES),
    HostConfig=_all(
        "NetworkMode", "PortBindings", "PublishAllPorts", "RestartPolicy", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "Links",
        "CapAdd", "CapDrop", "Privileged", "IpcMode", "PidMode", "UTSMode", "UsernsMode", "Runtime", "Sysctls",
    ),
    NetworkSettings=_SETTINGS,
)  # fmt: skip
NETWORK = _all(
    "Name", "Id", "Created", "Scope", "EnableIPv4", "EnableIPv6", "Driver", "Internal", "Attachable", "Ingress", "ConfigFrom", "ConfigOnly",
    "Containers", "Peers",
    IPAM=_all("Driver", "Config", Options=NAMES), Labels=NAMES,
    Options={"*": NAMES} | dict.fromkeys(
        (
            "com.docker.network.driver.mtu", "com.docker.network.driver.overlay.vxlanid_list", "com.docker.network.bridge.name",
            "com.docker.network.bridge.default_bridge", "com.docker.network.bridge.enable_icc",
            "com.docker.network.bridge.enable_ip_masquerade", "com.docker.network.bridge.host_binding_ipv4", "encrypted", "parent",
            "com.docker.network.bridge.gateway_mode_ipv4",
        ),
        ALL,
    ),
    Services={"*": _all("VIP", "Ports", "LocalLBIndex", "Tasks")},
)  # fmt: skip
_SWARM = _all(
    "NodeID", "NodeAddr", "LocalNodeState", "ControlAvailable", "Error", "RemoteManagers", "Nodes", "Managers",
    Cluster=_all("ID", "Version", "CreatedAt", "DataPathPort", "DefaultAddrPool", "SubnetSize", "RootRotationInProgress"),
)  # fmt: skip
INFO = _all(
    "ID", "Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped", "Images", "Driver", "BridgeNfIptables", "BridgeNfIp6tables",
    "IPv4Forwarding", "Debug", "NFd", "NGoroutines", "SystemTime", "LoggingDriver", "CgroupDriver", "CgroupVersion", "KernelVersion",
    "OperatingSystem", "OSVersion", "OSType", "Architecture", "NCPU", "MemTotal", "DockerRootDir", "HttpProxy", "HttpsProxy", "NoProxy",
    "Name", "ExperimentalBuild", "ServerVersion", "ClusterStore", "ClusterAdvertise", "DefaultRuntime", "LiveRestoreEnabled", "SecurityOptions",
    "Warnings", "DefaultAddressPools", "FirewallBackend", "ContainerdCommit", "RuncCommit", "InitCommit",
    Plugins=ALL, Labels=NAMES, Swarm=_SWARM,
)  # fmt: skip
VERSION = _all(
    "Version", "ApiVersion", "MinAPIVersion", "GitCommit", "GoVersion", "Os", "Arch", "KernelVersion", "BuildTime",
    Platform=ALL, Components=_all("Name", "Version"),
)  # fmt: skip
NODE = _all(
    "ID", "Version", "CreatedAt", "UpdatedAt", "Status", "ManagerStatus",
    Spec=_all("Name", "Role", "Availability", Labels=NAMES),
    Description=_all("Hostname", "Platform", "Resources", Engine=_all("EngineVersion", "Plugins", Labels=NAMES)),
)  # fmt: skip
SWARM = _all(
    "ID", "Version", "CreatedAt", "UpdatedAt", "DataPathPort", "DefaultAddrPool", "SubnetSize", "RootRotationInProgress",
    Spec=_all("Name", "Orchestration", "Raft", "Dispatcher", Labels=NAMES, EncryptionConfig=_all("AutoLockManagers"), CAConfig=_all("NodeCertExpiry")),
)  # fmt: skip
SERVICE = _all(
    "ID", "Version", "CreatedAt", "UpdatedAt", "Endpoint",
    Spec=_all("Name", "Mode", "EndpointSpec", Labels=NAMES, TaskTemplate={"Networks": _all("Target", "Aliases"), "Placement": ALL}),
)  # fmt: skip
TASK = _all(
    "ID", "ServiceID", "NodeID", "Slot", "DesiredState", "CreatedAt", "UpdatedAt",
    Status=_all("Timestamp", "State", "Message", "Err", ContainerStatus=_all("ContainerID", "PID", "ExitCode")),
    NetworksAttachments={"Addresses": ALL, "Network": _all("ID", Spec=_all("Name"))},
)  # fmt: skip
_ORDINARY = """
    cluster-store cluster-advertise hosts debug log-level log-driver mtu bip bridge fixed-cidr default-gateway
    default-address-pools dns dns-opts dns-search iptables ip6tables ip-forward ip-masq ip ipv6 icc live-restore
    userland-proxy experimental insecure-registries data-root exec-opts storage-driver max-concurrent-downloads
    network-control-plane-mtu network-diagnostic-port metrics-addr features userns-remap firewall-backend shutdown-timeout
    tls tlsverify swarm-default-advertise-addr group api-cors-header node-generic-resources
"""  # keys of daemon.json that never have secrets
DAEMON = {"*": NAMES, "proxies": _all("http-proxy", "https-proxy", "no-proxy")} | dict.fromkeys(_ORDINARY.split(), ALL)
# A network's value in a store. Options of drivers may be secrets.
STORED = {
    "*": ALL,
    "labels": NAMES,
    "Labels": NAMES,
    "generic": {"*": NAMES, "com.docker.network.generic": {"*": NAMES, "com.docker.network.driver.mtu": ALL}},
}
