# An engine of the store's days leaves a thread in the network namespace of an overlay whose last container has gone
# (libnetwork#1838: watchMiss). What later runs on that thread reaches nothing: the store is "unreachable" and a network
# "not found" for one request, or the watch of names fails at its start, and a container never resolves another's name.
# For up to three seconds the thread waits there for news of neighbours; a neighbour that is made there ends that. Then a
# request to the engine's macvlan driver puts the thread that serves it back into the host's namespace, also one that is
# refused, as these are: the mode does not exist. Nothing is made or kept.
# Argument: for how many seconds to look.
use strict; use warnings;
my $until = time + shift;
open my $file, "<", "/run/docker.pid" or exit;
my ($pid) = <$file> =~ /(\d+)/ or exit;
my %woken;
sub lost { # the threads' folders
    my $own = readlink "/proc/1/ns/net";
    my %live = map { ("net:[" . (stat $_)[1] . "]" => 1) } glob "/run/docker/netns/*";
    return grep { my $net = readlink "$_/ns/net"; defined $net && $net ne $own && !$live{$net} } glob "/proc/$pid/task/*";
}
# Runs in a thread's namespace, and looks first whose that is: the thread may have come back meanwhile. The kernel keeps one
# neighbour for all addresses of a loopback device, so another than its own (00:00:00:00:00:00) would cut that off.
my $NEIGHBOUR = <<'END';
    my $here = readlink "/proc/self/ns/net";
    exit if !$here || $here eq shift || grep { "net:[" . (stat $_)[1] . "]" eq $here } glob "/run/docker/netns/*";
    socket S, 16, 3, 0 or exit;
    send S, pack("H*", $_), 0, pack "Sx2LL", 16, 0, 0 for @ARGV;
END
sub wake { # FOLDER: a neighbour on the namespace's loopback device, see rtnetlink(7); made, and taken away at once
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
        my $busy = $rounds++ > 3;                                # elsewhere: nothing to hurry for
        select undef, undef, undef, $busy ? 0.1 : 0.01;
        my @asked = grep { defined } map { ask($_) } 1 .. ($busy ? 32 : 8); # at once: the idle threads get one each, the last first
        for my $socket (@asked) { 1 while sysread $socket, my $answer, 65536 }
    }
    elsif (time >= $until) { last }
    else { select undef, undef, undef, 0.3 }
}
