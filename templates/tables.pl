# Reads the engine's own tables of gossip from its diagnostic server on this host. Its requests change nothing.
# Uses perl-base's modules only.
#
# Arguments: the server's port, and the ID of each network.
# Writes: "answer KIND NETWORK TEXT" for each request ("-": of all networks), and "end"; or "none WHY".
use strict;
use warnings;
use Socket;

my ($SECONDS, $MOST) = (4, 8 << 20);  # for all answers together; bytes
my ($port, @networks) = @ARGV;
my $size = 0;

sub none { print "none @_\n"; exit }

# Whoever else listens there could answer anything. Columns of /proc/net/tcp: number, address, peer, state (0A: listens), 3 more, user.
my $address = sprintf "%08X:%04X", unpack("L", inet_aton("127.0.0.1")), $port;
open my $sockets, "<", "/proc/net/tcp" or none "/proc/net/tcp can't be read: $!";
my ($owner) = map { (split)[7] } grep { / $address \S+ 0A / } <$sockets>;
none "nothing listens on 127.0.0.1:$port" if !defined $owner;
none "127.0.0.1:$port is a port of user $owner, and not of the engine" if $owner;

sub get {
    my ($kind, $network, $what) = @_;
    socket my $server, PF_INET, SOCK_STREAM, 0 or none $!;
    connect $server, sockaddr_in($port, inet_aton("127.0.0.1")) or none "127.0.0.1:$port does not accept connections: $!";
    syswrite $server, "GET /$what HTTP/1.0\r\nHost: localhost\r\n\r\n";
    my $answer = "";
    while (my $got = sysread $server, $answer, 65536, length $answer) {
        none "its answers are larger than $MOST bytes" if ($size += $got) > $MOST;
    }
    my ($text) = $answer =~ m{\AHTTP/\S+ 200 .*?\r\n\r\n(.*)}s or none "127.0.0.1:$port does not answer as the engine does";
    $text =~ tr/\r\n//d;
    return "answer $kind $network $text\n";
}

$SIG{ALRM} = sub { none "no answer within $SECONDS s on 127.0.0.1:$port" };
alarm $SECONDS;
my @answers = get("clusterpeers", "-", "clusterpeers?json");
for my $network (@networks) {
    push @answers, get("networkpeers", $network, "networkpeers?nid=$network&json");
    push @answers, get($_, $network, "gettable?nid=$network&tname=$_&json") for "endpoint_table", "overlay_peer_table";
}
alarm 0;
print @answers, "end\n";
