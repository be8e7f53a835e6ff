# Records the headers of packets between hosts: of overlays (VXLAN, ESP), of gossip, and of ICMP errors. Needs root. Changes nothing.
#
# Arguments: DATA-PORT COUNT
# Reads:  anything, or the end of input, ends the recording. It also ends by itself after 30 seconds.
# Writes: ready
#         packet SECONDS MICROSECONDS TYPE HARDWARE ADDRESS-LENGTH ADDRESS LENGTH HEX    LENGTH: of the whole packet
#         end
use strict;
use warnings;
use Socket;
my ($data, $most) = @ARGV;
my $gossip = 7946;
$SIG{$_} = sub { exit 0 } for qw(TERM INT HUP PIPE);
$SIG{ALRM} = sub { exit 0 };
alarm 60;
$| = 1;
{% include "clock.pl" %}

# Offsets as in linux/filter.h; the packet begins with its IPv4 header. Fragments but the first have no ports.
my @filter = (
    [0x30, 0, 0, 9], [0x15, 13, 0, 50], [0x15, 0, 3, 1],                             # ESP; ICMP
    [0xb1, 0, 0, 0], [0x50, 0, 0, 0], [0x15, 9, 10, 3],                              # its type 3: unreachable
    [0x15, 1, 0, 17], [0x15, 0, 8, 6], [0x28, 0, 0, 6], [0x45, 6, 0, 0x1fff],        # UDP, TCP
    [0xb1, 0, 0, 0], [0x48, 0, 0, 2], [0x15, 2, 0, $data], [0x15, 1, 0, $gossip],
    [0x06, 0, 0, 0], [0x06, 0, 0, 256], [0x06, 0, 0, 0],
);
socket my $wire, 17, 2, 0 or die "packet(7): $!\n";  # AF_PACKET, SOCK_DGRAM
my $code = join "", map { pack "SCCL", @$_ } @filter;
setsockopt $wire, 1, 26, pack "S x![P] P", scalar @filter, $code or die "SO_ATTACH_FILTER: $!\n";
bind $wire, pack "S n x16", 17, 3 or die "packet(7): $!\n";

sub transport { # the length of a header of TCP, UDP or ICMP at an offset
    my ($packet, $protocol, $at) = @_;
    return $protocol == 6 ? 4 * (vec($packet, $at + 12, 8) >> 4) : 8;
}

sub headers { # how many bytes of a packet are headers
    my ($packet) = @_;
    my $at = 4 * (15 & ord $packet);
    my $protocol = vec $packet, 9, 8;
    return $at if 0x1fff & unpack "n", substr $packet, 6, 2;
    my ($from, $to) = unpack "n n", substr $packet, $at, 4;
    $at += transport($packet, $protocol, $at);
    return $at + 28 if $protocol == 1;
    return $at unless $protocol == 17 && $to == $data && length $packet >= $at + 42;
    $at += 8 + 14;  # VXLAN, Ethernet
    my $type = unpack "n", substr $packet, $at - 2, 2;
    return $at + 28 if $type == 0x0806;
    return $at unless $type == 0x0800;
    my $inner = $at + 4 * (15 & vec $packet, $at, 8);
    return $inner + transport($packet, vec($packet, $at + 9, 8), $inner);
}

print "ready\n";
my (@packets, $until);
$until = now() + 30;
while ((my $wait = $until - now()) > 0) {
    my $ready = "";
    vec($ready, fileno $_, 1) = 1 for $wire, *STDIN;
    select $ready, undef, undef, $wait;
    last if vec $ready, fileno STDIN, 1;
    while (defined(my $link = recv $wire, my $packet, 256, 64)) {
        next if @packets >= $most || length $packet < 20;
        ioctl $wire, 0x8906, my $stamp = "\0" x 16;  # SIOCGSTAMP
        my ($type, $hardware, $length, $address) = (unpack "S n i S C C a8", $link)[4, 3, 5, 6];
        my $keep = headers($packet);
        push @packets, join " ", "packet", unpack("l! l!", $stamp), $type, $hardware, $length, unpack("H16", $address),
            unpack("n", substr $packet, 2, 2), unpack("H*", substr $packet, 0, $keep);
    }
}
print "$_\n" for @packets;
print "end\n";
