"""Why a host can't be reached over SSH, or does not allow a run to work on it."""

from provisioner.causes.base import Family, failure

FAMILY = Family(
    "connections",
    "Connections to hosts",
    (
        failure(
            "host-unreachable",
            "the host does not answer",
            "No packet came back from the host's address, or no route leads there. The host is off, its address in the"
            " inventory is wrong, or a firewall on the path drops the packets.",
            "check that the host is up, that its address in the inventory is right, and that a firewall lets SSH pass",
        ),
        failure(
            "address-unresolved",
            "the host's name does not resolve",
            "The inventory gives a name as the address of the host, and the resolvers of this machine do not know it.",
            "correct the name, add it to DNS or to /etc/hosts of this machine, or write the address itself",
        ),
        failure(
            "ssh-config-unusable",
            "OpenSSH's configuration can't be evaluated",
            "A run asks `ssh -G` how to reach each host. ssh reports an error in its configuration, or a value there can't be"
            " used. A file outside ~/.ssh and /etc/ssh must not contain `Match exec`, `Include`, or a ProxyCommand other than a"
            " jump.",
            "correct ~/.ssh/config, or set `config: none` under `ssh` in the inventory and name what it supplies there",
        ),
        failure(
            "proxy-failed",
            "the ProxyCommand reaches no SSH server",
            "OpenSSH's configuration connects to this host through a command. The command failed, or what it connects to is no"
            " SSH server.",
            "try the command in a shell; `ssh -G ADDRESS` shows it",
        ),
        failure(
            "ssh-closed",
            "nothing listens on the SSH port",
            "The host answers, but no program listens on the port that the inventory gives.",
            "start sshd on the host, or correct `address` and `port` in the inventory",
        ),
        failure(
            "ssh-busy",
            "the SSH server closes the connection at once",
            "The server closed the connection before it sent its version. It limits how many connections may log in at the"
            " same time, or blocks the address after failed logins. The run retried for 30 seconds.",
            "check MaxStartups and PerSourcePenalties in sshd_config on the host, and its log: journalctl -u ssh",
        ),
        failure(
            "not-ssh",
            "no SSH server listens on the port",
            "The program on the port does not speak SSH, or accepts connections and sends nothing.",
            "correct `address` and `port` in the inventory; `ss -ltnp` on the host shows which program listens",
        ),
        failure(
            "handshake-failed",
            "the key exchange did not finish",
            "An SSH server answered, but stopped answering or closed the connection during the key exchange.",
            "see sshd's log on the host (journalctl -u ssh), then run the command again",
        ),
        failure(
            "ssh-too-old",
            "the SSH server offers only outdated algorithms",
            "A run uses no algorithm that is known to be weak, such as SHA-1 signatures, CBC ciphers or MD5.",
            "install OpenSSH 7.2 or later on the host, or give it an ed25519 host key: ssh-keygen -A",
        ),
        failure(
            "host-key-unknown",
            "the host's key is not on record",
            "With `host_keys: strict`, a run does not connect to a host whose key is not in known_hosts. Otherwise, any machine"
            " on the path could answer in its place.",
            "compare the fingerprint with the host's own (ssh-keygen -lf on the host), then record the key with ssh-keyscan; or"
            " set `host_keys: accept-new`",
        ),
        failure(
            "host-key-changed",
            "the host's key is not the one on record",
            "The host's key differs from the one in known_hosts, or is revoked there. The host was reinstalled, or another"
            " machine answers in its place.",
            "find out which; only if the new key is right, remove the old one: ssh-keygen -R ADDRESS",
        ),
        failure(
            "known-hosts-unusable",
            "the file of host keys can't be read or written",
            "Without the recorded host keys, a run can't distinguish a host from a machine that answers in its place.",
            "give your user access to the file that `known_hosts` names, or name another one",
        ),
        failure(
            "key-unusable",
            "the private key can't be used",
            "The key that the inventory names does not exist, can't be read, or is not a private key. An encrypted key needs"
            " ssh-agent, or a terminal on which the run asks for its passphrase.",
            "name the private key that the hosts accept; add an encrypted one to the agent: ssh-add KEY",
        ),
        failure(
            "login-refused",
            "the host refuses the login",
            "The SSH server answered, but accepts neither a key nor a password of this user. Once a host refuses the password of"
            " --ask-password, a run tries it on no further host, so that it locks no account.",
            "try it with ssh; the public key belongs in ~/.ssh/authorized_keys of the user, and for root PermitRootLogin must"
            " not be `no`",
        ),
        failure(
            "no-shell",
            "the login succeeds, but the host runs no commands",
            "The user has no login shell, or sshd forces another command.",
            "give the user a login shell, and check for ForceCommand or command= in sshd_config and authorized_keys",
        ),
        failure(
            "tool-missing",
            "a program that every run needs is missing",
            "Each write holds a lock, which requires `flock` and a folder in /run.",
            "install the package util-linux, and check whether /run is full",
        ),
        failure(
            "sessions-refused",
            "the host refuses another session",
            "A run opens several sessions on one connection, and sshd limits their number.",
            "raise MaxSessions in sshd_config on the host; its default is 10",
        ),
        failure(
            "forwarding-forbidden",
            "the SSH server forbids forwarding",
            "A run reaches the engine, the store and the hosts behind a jump host through forwarded connections.",
            "set `AllowTcpForwarding local` in sshd_config, look for PermitOpen and DisableForwarding there, and reload sshd",
        ),
        failure(
            "port-unanswered",
            "nothing answers on a port of the host",
            "The engine or the store that the run has to query does not listen there.",
            "check whether the service runs (systemctl status), and read its log",
        ),
        failure(
            "connection-lost",
            "the connection to the host is lost",
            "The connection broke during the run: the host, its sshd or a network on the path failed. A script that changes the"
            " host finishes without the connection.",
            "check the host and the network path to it, then run the same command again",
        ),
        failure(
            "timed-out",
            "the host did not answer in time",
            "A script or a request did not end within its deadline. A script that changes the host may still run.",
            "check the load and the disks of the host, then run the same command again",
        ),
        failure(
            "command-failed",
            "a script failed on the host",
            "A script ended with an unexpected exit code, was killed, or arrived incomplete. The error has its last lines.",
            "fix what these lines report, and run again",
        ),
    ),
)
