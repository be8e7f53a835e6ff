# The largest packet that reaches every one of some hosts unfragmented, and comes back: one line, bytes with the IP header.
# ICMP echoes with DF (icmp(7), ip(7): IP_PMTUDISC_PROBE sends past what the kernel believes of a path), to all hosts at
# once. A host that answers not even a small one does not tell: echoes may be filtered, and what uses the path will show.
# Arguments: the MTU of the own interface, then the addresses.
use strict; use warnings; use Socket;
my ($most, @hosts) = @ARGV;
my ($least, $patience, $echo) = (576, 0.4, 0); # bytes: what every IPv4 host has to take; seconds
socket my $socket, PF_INET, SOCK_RAW, 1 or do { print "$most\n"; exit };
setsockopt $socket, 0, 10, pack "i", 3;
# Of many hosts that measure at once: answers alone (raw(7): ICMP_FILTER), and room for all of them (socket(7): SO_RCVBUFFORCE);
# what is lost here would be taken for a narrow path.
setsockopt $socket, 255, 1, pack "L", 0xffff_fffe;
setsockopt $socket, SOL_SOCKET, 33, pack "i", 1 << 23;
sub sum { my $sum = unpack "%32n*", $_[0]; $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16; return ~$sum & 0xffff }
sub answering { # BYTES -> ADDRESSES: those of them that answer; asked three times, for hosts may be busy
    my ($bytes, @asked) = @_;
    my %waits = map { (inet_aton($_) => $_) } @asked;
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
            my $from = recv($socket, my $packet, 65536, 0) or next; # an error on the queue: a router that says "too big"
            my ($type, undef, undef, $theirs) = unpack "C2 n2", substr $packet, 4 * (ord($packet) & 15), 8;
            my $to = (sockaddr_in($from))[1];
            next unless $type == 0 && $theirs == $id && length $packet == $bytes && $waits{$to};
            $found{delete $waits{$to}} = 1;
        }
        last unless %waits;
    }
    return grep { $found{$_} } @asked;
}
my %whole = map { ($_ => 1) } answering($most, @hosts);
my @rest = grep { !$whole{$_} } @hosts;
@rest = answering($least, @rest) if @rest;
my $too_much = $most;
while (@rest && $too_much - $least > 1) { # the smallest of all paths is what counts
    my $middle = int(($least + $too_much) / 2);
    if (answering($middle, @rest) == @rest) { $least = $middle } else { $too_much = $middle }
}
print @rest ? $least : $most, "\n";
