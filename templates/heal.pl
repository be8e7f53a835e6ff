# Works around a bug of engines with external stores (libnetwork#1838: watchMiss): when the last container leaves an overlay, a
# thread of the engine stays in the overlay's network namespace. What runs on that thread later reaches nothing. For one request,
# the store is "unreachable" or a network "not found"; or the watch of names fails, and a container never resolves other names.
# The thread waits there up to three seconds for events about neighbours, so this program adds one. Then a request to the
# engine's macvlan driver moves the thread that serves it back to the host's namespace. The requests name a mode that does not
# exist, so the engine rejects them and creates nothing.
# Argument: for how many seconds to look.
use strict; use warnings;
my $until = time + shift;
open my $file, "<", "/run/docker.pid" or exit;
my ($pid) = <$file> =~ /(\d+)/ or exit;
my %woken;
sub lost { # the folders of stuck threads
    my $own = readlink "/proc/1/ns/net";
    my %live = map { ("net:[" . (stat $_)[1] . "]" => 1) } glob "/run/docker/netns/*";
    return grep { my $net = readlink "$_/ns/net"; defined $net && $net ne $own && !$live{$net} } glob "/proc/$pid/task/*";
}
# Runs in a thread's namespace, and first checks which one that is: the thread may have returned in the meantime. The kernel
# keeps one neighbour for all addresses of a loopback device, so any MAC address but its own (all zeros) would cut it off.
my $NEIGHBOUR = <<'END';
    my $here = readlink "/proc/self/ns/net";
    exit if !$here || $here eq shift || grep { "net:[" . (stat $_)[1] . "]" eq $here } glob "/run/docker/netns/*";
    socket S, 16, 3, 0 or exit;
    send S, pack("H*", $_), 0, pack "Sx2LL", 16, 0, 0 for @ARGV;
END
sub wake { # FOLDER: adds a neighbour on the namespace's loopback device and removes it at once, see rtnetlink(7)
    my ($thread) = @_;
    return if $woken{$thread}++;
    my $neighbour = pack "Cx3lSCC SSa4 SSa6x2", 2, 1, 0x80, 0, 0, 8, 1, "\0" x 4, 10, 2, "\0" x 6;
    my @messages = map { unpack "H*", pack "LSSLL a*", 16 + length $neighbour, @$_, 1, 0, $neighbour } [28, 0x501], [29, 1];
    system "nsenter", "--net=$thread/ns/net", $^X, "-e", $NEIGHBOUR, readlink("/proc/1/ns/net"), @messages;
}
sub ask {
    my ($number) = @_;
    my $body = qq({"Name":"provisioner-none-$number","Driver":"macvlan","Options":{"macvlan_mode":"none"},)
        . qq("IPAM":{"Config":[{"Subnet":"127.0.$number.0/24"}]}});
    socket my $socket, 1, 1, 0 or return; # AF_UNIX, SOCK_STREAM
    connect $socket, pack "S a108", 1, "/var/run/docker.sock" or return;
    syswrite $socket, "POST /networks/create HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        . "Content-Length: " . length($body) . "\r\n\r\n$body";
    return $socket;
}
$SIG{ALRM} = sub { exit };
alarm $until - time + 10;
for (my $rounds = 0; $rounds < 40;) {
    if (my @lost = lost()) {
        wake($_) for @lost;
        my $busy = $rounds++ > 3;                                # busy: the engine's threads serve other requests
        select undef, undef, undef, $busy ? 0.1 : 0.01;
        my @sockets = grep { defined } map { ask($_) } 1 .. ($busy ? 32 : 8); # at once, so that each idle thread gets one, the last first
        for my $socket (@sockets) { 1 while sysread $socket, my $answer, 65536 }
    }
    elsif (time >= $until) { last }
    else { select undef, undef, undef, 0.3 }
}
