"""Why a step, a run or the lab failed, if no cause of a failing network was recognised."""

from provisioner.causes.base import Family, failure

FAMILY = Family(
    "failures",
    "Failures of a run",
    (
        failure(
            "not-converged",
            "a step did not reach the desired state",
            "The step has done its work, but the host still differs from the inventory. The error lists what differs.",
            "read the log of the service that the error names, then run again",
        ),
        failure(
            "change-held",
            "a difference that only you can resolve",
            "The host differs from the inventory in a way whose repair would interrupt containers. It is left unchanged until"
            " you ask for the change.",
            "change the inventory, or run the command that the error names",
        ),
        failure(
            "malformed-answer",
            "an answer of a host or a store is malformed",
            "The answer does not have the expected form. The run concludes nothing from it, so it changes nothing.",
            "check what the host or the store answers, repair it, and run again",
        ),
        failure(
            "internal-error",
            "a bug of provisioner",
            "The data of one host caused an exception in provisioner. This host drops out, and the others continue.",
            "report it with the lines of the error; the host is not at fault",
        ),
        failure(
            "interrupted",
            "the run was stopped with Ctrl-C",
            "Scripts that already run on hosts will finish. The hosts keep the state, so no clean-up is needed.",
            "run the command again; it continues where it stopped",
        ),
        failure(
            "host-locked",
            "another run works on the host",
            "A run locks every host before it changes anything, so that two runs never change a host at the same time.",
            "wait until the other run has ended; the error names its owner and its process",
        ),
        failure(
            "lock-lost",
            "the run's lock on a host is lost",
            "The process that holds the lock on the host ended. Another run may have begun, so this one changes nothing more.",
            "find out who runs the other one, then run the same command again",
        ),
        failure(
            "store-locked",
            "another run changes the same store",
            "Several inventories may use one external store. A lock in the store lets only one run change it at a time.",
            "wait until that run has ended; the lock of a run that was killed expires after 15 minutes",
        ),
        failure(
            "quorum-lost",
            "too many servers or managers dropped out",
            "A store or a swarm changes only while a majority of its servers or managers takes part. The run stops before it"
            " makes that worse.",
            "fix the hosts that dropped out, and run again; before the store or the swarm exists, you can also name other hosts in"
            " store.servers or swarm.managers",
        ),
        failure(
            "no-host-left",
            "no host is left to work on",
            "Every host that the run needs has dropped out, each for its own reason.",
            "fix what is reported about these hosts, and run again",
        ),
        failure(
            "warning-found",
            "`verify --strict` has found a warning",
            "A warning does not fail a run. With --strict, it does, so that a script notices it.",
            "do what the report says about the warning, or hide it with --ignore",
        ),
        failure(
            "swarm-may-exist",
            "a host that does not answer may have the cluster's swarm",
            "Two swarms can't be merged. No second swarm is created while a host that does not answer may be in the first.",
            "make the hosts and engines that the error names answer; remove a host that is gone for good from the inventory",
        ),
        failure(
            "founder-changed",
            "another host was chosen to create the swarm",
            "Before a host creates the swarm, every host has it on record. The record changed meanwhile, so no swarm was created.",
            "run again",
        ),
        failure(
            "no-server-left",
            "no server of the store is left",
            "The step needs a running server of the store, and all of them have dropped out.",
            "bring a host of store.servers back, and run again",
        ),
        failure(
            "ssh-port-taken",
            "SSH uses a port of the cluster",
            "The firewall rules close the cluster's ports to all others. SSH on one of them would shut you out of the host.",
            "let sshd listen on another port, and set `port` of the host",
        ),
        failure(
            "duplicate-network",
            "several networks have one name",
            "An engine may have several networks with one name. A container then joins an arbitrary one of them.",
            "remove the one that no container uses, by its ID: docker network rm ID",
        ),
        failure(
            "network-failed",
            "the engine can't create or remove a network",
            "The engine refused the request. The error has its message.",
            "fix what the engine reports, and run again",
        ),
        failure(
            "container-stays",
            "a container can't be disconnected from a network",
            "The engine refused to disconnect the container, so the network can't be removed.",
            "fix what the engine reports, or remove the container, and run again",
        ),
        failure(
            "engine-failed",
            "the engine does not start",
            "The engine does not start with its configuration. If it ran before, the old daemon.json was put back.",
            "read its log: journalctl -u docker",
        ),
        failure(
            "plugin-failed",
            "a plugin can't be set up or removed",
            "The engine or the registry refused the plugin, or another file specifies it too.",
            "fix what the error says, and run again",
        ),
        failure(
            "store-failed",
            "a server or an agent of the store does not start",
            "The store's service does not start with its configuration. If it ran before, the old files were put back.",
            "read its log: journalctl -u consul, etcd or zookeeper",
        ),
        failure(
            "store-refuses",
            "the store answers with an error",
            "The store answered a request for its lock with an unexpected code.",
            "see the store's log, and run again",
        ),
        failure(
            "store-port-foreign",
            "Consul's port does not belong to Consul",
            "A token is sent only to Consul's own process. Another program, or none, listens on the port.",
            "check what listens there (ss -ltnp), see Consul's log (journalctl -u consul), and run again",
        ),
        failure(
            "store-binary",
            "the program to upload can't be used",
            "The file that store.binary names has another checksum than store.sha256, or does not contain Consul.",
            "download it again, or correct store.sha256",
        ),
        failure(
            "secrets-refused",
            "Consul does not accept its keys and tokens",
            "Consul's servers refused a change of keys, policies or tokens.",
            "see the servers' log (journalctl -u consul), and run again",
        ),
        failure(
            "secrets-differ",
            "hosts have different secrets",
            "The hosts that answer have different versions of a secret, and no majority of them agrees.",
            "copy the right file over the others, with its mode and owner, and run again",
        ),
        failure(
            "authority-key-lost",
            "the key of the certificate authority is missing",
            "New certificates are signed with the authority's key, which only the store's servers have. None that answers has"
            " it.",
            "bring a server that has it back; or create a new authority: provisioner rotate certificates --ca INVENTORY",
        ),
        failure(
            "rotation-incomplete",
            "a rotation did not reach all hosts",
            "A host dropped out before it had the new secrets. The old ones stay valid, so that it is not shut out.",
            "fix what is reported about the host, run `provisioner up INVENTORY`, then run the rotation again",
        ),
        failure(
            "member-stays",
            "the store does not remove a member",
            "The store still counts the host that leaves as a member, and refuses to remove it.",
            "see the log of the store's servers, and run again",
        ),
        failure(
            "swarm-stays",
            "the engine does not leave its swarm",
            "The engine refused to leave. The error has its message.",
            "fix what the engine reports; or, on the host: docker swarm leave --force",
        ),
        failure(
            "node-failed",
            "a manager can't change a node",
            "The swarm did not accept a change of a node's role or availability, or the node did not apply it in time.",
            "check that 2377/tcp passes between the hosts, and run again",
        ),
        failure(
            "packages-failed",
            "the package manager failed",
            "apt could not install or remove a package. The error has its last lines.",
            "fix what apt reports, and run again",
        ),
        failure(
            "packages-locked",
            "the package manager is locked",
            "Another program, often unattended-upgrades, installs packages on the host at the same time.",
            "wait until it has ended, and run again",
        ),
        failure(
            "packages-unknown",
            "the package sources lack a package",
            "The package sources of the host do not have a package that the cluster needs.",
            "add a source that has it, or install the program by hand",
        ),
        failure(
            "packages-needed",
            "other packages need those to be removed",
            "`down --packages` removes only packages that nothing else on the host needs.",
            "remove the other packages first, or run without --packages",
        ),
        failure(
            "file-failed",
            "a file can't be read or written",
            "A change of a file failed. The old file is untouched.",
            "check the free space and the mount options of its file system: df FOLDER",
        ),
        failure(
            "path-unsafe",
            "something unexpected is in the place of a file or folder",
            "There is a symbolic link, or something that another user owns, in the place of a file. A run never follows or"
            " changes what another user controls.",
            "find out who created it, remove it, and run again",
        ),
        failure(
            "account-failed",
            "a system user or group can't be created or removed",
            "Services run as their own users. useradd, userdel or groupdel failed.",
            "run the command that the error names by hand, and run again",
        ),
        failure(
            "unit-failed",
            "a systemd unit can't be started, stopped or enabled",
            "systemctl failed for a unit that the cluster needs, or that must be removed.",
            "check the unit: systemctl status UNIT, journalctl -u UNIT",
        ),
        failure(
            "rules-failed",
            "the firewall rules can't be set or removed",
            "iptables or nftables refused the rules. The error has its message.",
            "fix what the program reports, and run again",
        ),
        failure(
            "archive-unwritable",
            "the archive with the evidence can't be written",
            "The folder of `--collect` is missing, belongs to somebody else, or its disk is full. An incomplete archive is removed.",
            "name an existing folder in which you may write, on a disk with free space",
        ),
        failure(
            "lab",
            "the lab on this machine failed",
            "The lab can't do what was asked of it. The error says why.",
            "do what the error says; docs/lab.md lists what the lab needs",
        ),
    ),
)
