# Measures the largest packet that reaches each of some hosts unfragmented, and returns. Prints one line: bytes with IP header.
# Sends ICMP echo requests with DF to all hosts at once (icmp(7); ip(7): IP_PMTUDISC_PROBE ignores the kernel's own path MTU).
# A host that does not even answer a small packet is ignored, since echo requests may be filtered.
# Arguments: the MTU of this host's interface, then the addresses.
use strict; use warnings; use Socket;
my ($most, @hosts) = @ARGV;
my ($least, $patience, $echo) = (576, 0.4, 0); # bytes that every IPv4 host must accept; seconds
socket my $socket, PF_INET, SOCK_RAW, 1 or do { print "$most\n"; exit };
setsockopt $socket, 0, 10, pack "i", 3;
# Many hosts may measure at once. So receive replies only (raw(7): ICMP_FILTER), with a large buffer (socket(7): SO_RCVBUFFORCE):
# a reply that is lost here would look like a small MTU.
setsockopt $socket, 255, 1, pack "L", 0xffff_fffe;
setsockopt $socket, SOL_SOCKET, 33, pack "i", 1 << 23;
sub sum { my $sum = unpack "%32n*", $_[0]; $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16; return ~$sum & 0xffff }
sub answering { # BYTES ADDRESS ...: the addresses that answer; tries three times, since hosts may be busy
    my ($bytes, @addresses) = @_;
    my %waits = map { (inet_aton($_) => $_) } @addresses;
    my ($id, %found) = ($$ & 0xffff);
    for (1 .. 3) {
        $echo++;
        for my $to (keys %waits) {
            my $body = pack "n2 a" . ($bytes - 28), $id, $echo, "";
            my $sum = sum(pack("n2", 0x0800, 0) . $body);
            send $socket, pack("n2", 0x0800, $sum) . $body, 0, sockaddr_in(0, $to);
        }
        my $left = $patience;
        while (%waits) {
            vec(my $ready = "", fileno $socket, 1) = 1;
            (my $n, $left) = select $ready, undef, undef, $left;
            last if $n < 1;
            my $from = recv($socket, my $packet, 65536, 0) or next; # a queued error: a router's "packet too big"
            my ($type, undef, undef, $theirs) = unpack "C2 n2", substr $packet, 4 * (ord($packet) & 15), 8;
            my $to = (sockaddr_in($from))[1];
            next unless $type == 0 && $theirs == $id && length $packet == $bytes && $waits{$to};
            $found{delete $waits{$to}} = 1;
        }
        last unless %waits;
    }
    return grep { $found{$_} } @addresses;
}
my %whole = map { ($_ => 1) } answering($most, @hosts);
my @rest = grep { !$whole{$_} } @hosts;
@rest = answering($least, @rest) if @rest;
my $too_much = $most;
while (@rest && $too_much - $least > 1) { # the smallest MTU of all paths counts
    my $middle = int(($least + $too_much) / 2);
    if (answering($middle, @rest) == @rest) { $least = $middle } else { $too_much = $middle }
}
print @rest ? $least : $most, "\n";
