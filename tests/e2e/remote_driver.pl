# A minimal network driver for Docker: a bridge for each network, a veth pair for each container.
#
# It speaks libnetwork's remote driver protocol (docs/remote.md): HTTP with JSON on a socket. The engine finds the socket by a spec
# file or by a managed plugin's config.json. Containers of one network on one host reach one another.
# It runs in the host's network namespace, where it creates the bridges.
# First argument: the socket's path, or PORT for TCP on 127.0.0.1. More arguments: addresses of hosts, its own first. With them
# the scope is global, and VXLAN joins the bridges of a network. The engine announces a global network only to the driver of the
# host that creates it, so each host creates its bridge with its first container.
use strict;
use warnings;
use Socket;

my ($where, $own, @others) = @ARGV;
my $scope = @others ? "global" : "local";
my $listener;
if ($where =~ /^\d+$/) {
    socket $listener, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
    setsockopt $listener, SOL_SOCKET, SO_REUSEADDR, 1;
    bind $listener, sockaddr_in($where, INADDR_LOOPBACK) or die "bind: $!";
} else {
    unlink $where;
    socket $listener, PF_UNIX, SOCK_STREAM, 0 or die "socket: $!";
    bind $listener, sockaddr_un($where) or die "bind: $!";
}
listen $listener, 64 or die "listen: $!";
$SIG{PIPE} = "IGNORE";
$SIG{TERM} = sub { exit };    # process 1 of a container ignores signals that it has no handler for

sub run { system("ip", @_) == 0 or die "ip @_ failed\n" }
sub bridge { my ($network) = @_; return "rd-" . substr $network, 0, 12 }
sub wire { my ($network) = @_; return "rv-" . substr $network, 0, 12 }
sub veth { my ($endpoint) = @_; return map { $_ . substr $endpoint, 0, 11 } "rdh", "rdc" }

# The requests are flat enough to be parsed with patterns.
sub text { my ($body, $key) = @_; return $body =~ /"$key":"((?:[^"\\]|\\.)*)"/ ? $1 : "" }

sub join_hosts {
    my ($network) = @_;
    my ($bridge, $wire) = (bridge($network), wire($network));
    return if -e "/sys/class/net/$wire";
    run("link", "add", $bridge, "type", "bridge");
    run("link", "add", $wire, "type", "vxlan", "id", hex substr($network, 0, 5), "dstport", 4799, "local", $own);
    system("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", $wire, "dst", $_) == 0 or die "bridge fdb failed\n" for @others;
    run("link", "set", $wire, "master", $bridge, "up");
    run("link", "set", $bridge, "up");
}

my %answers = (
    "Plugin.Activate" => sub { return '{"Implements":["NetworkDriver"]}' },
    "NetworkDriver.GetCapabilities" => sub { return qq({"Scope":"$scope","ConnectivityScope":"$scope"}) },
    "NetworkDriver.CreateNetwork" => sub {
        my ($body) = @_;
        return "{}" if @others;
        my $bridge = bridge(text($body, "NetworkID"));
        my ($gateway) = $body =~ /"IPv4Data":\[.*?"Gateway":"([0-9.]+\/[0-9]+)"/;
        run("link", "add", $bridge, "type", "bridge");
        run("address", "add", $gateway, "dev", $bridge) if $gateway;
        run("link", "set", $bridge, "up");
        return "{}";
    },
    "NetworkDriver.DeleteNetwork" => sub {
        my $network = text($_[0], "NetworkID");
        for my $link (wire($network), bridge($network)) {
            run("link", "del", $link) if -e "/sys/class/net/$link";
        }
        return "{}";
    },
    "NetworkDriver.CreateEndpoint" => sub { return '{"Interface":{}}' },
    "NetworkDriver.EndpointOperInfo" => sub { return '{"Value":{}}' },
    "NetworkDriver.Join" => sub {
        my ($body) = @_;
        my ($network, $mtu) = (text($body, "NetworkID"), @others ? 1450 : 1500);
        join_hosts($network) if @others;
        my ($here, $there) = veth(text($body, "EndpointID"));
        run("link", "add", $here, "mtu", $mtu, "type", "veth", "peer", "name", $there, "mtu", $mtu);
        run("link", "set", $here, "master", bridge($network), "up");
        return qq({"InterfaceName":{"SrcName":"$there","DstPrefix":"eth"},"DisableGatewayService":false});
    },
    "NetworkDriver.Leave" => sub { return "{}" },
    "NetworkDriver.DeleteEndpoint" => sub {
        my ($here) = veth(text($_[0], "EndpointID"));
        run("link", "del", $here) if -e "/sys/class/net/$here";
        return "{}";
    },
    map { ("NetworkDriver.$_" => sub { return "{}" }) } qw(DiscoverNew DiscoverDelete ProgramExternalConnectivity RevokeExternalConnectivity AllocateNetwork FreeNetwork),
);

sub answer {
    my ($client) = @_;
    my $data = "";
    until ($data =~ /\r\n\r\n/) { sysread $client, $data, 65536, length $data or return }
    my ($head, $body) = split /\r\n\r\n/, $data, 2;
    my ($method) = $head =~ m{^POST /(\S+) };
    my ($length) = $head =~ /^Content-Length: (\d+)/mi;
    while (length $body < ($length // 0)) { sysread $client, $body, 65536, length $body or return }
    my $said = eval { ($answers{$method // ""} // die "unknown method\n")->($body) };
    my $error = $@;
    $error =~ s/["\\\n]/ /g;
    print STDERR "$method $body -> ", $said // "error $error", "\n";
    my ($code, $out) = defined $said ? ("200 OK", $said) : ("500 Failed", qq({"Err":"$error"}));
    syswrite $client, "HTTP/1.1 $code\r\nContent-Type: application/vnd.docker.plugins.v1.2+json\r\nConnection: close\r\n"
        . "Content-Length: " . length($out) . "\r\n\r\n$out";
}

while (1) {
    accept my $client, $listener or next;
    answer($client);
    close $client;
}
