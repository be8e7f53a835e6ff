# Counts packets of containers where they pass in one network namespace: of the host, or of an overlay. Needs root. Changes nothing.
#
# Arguments: the namespace's name, the UDP port of VXLAN (0 in an overlay's namespace), the probe's UDP port (0: count ICMP echo
# requests and their answers instead), SECONDS
# Writes, after this time, for each interface, direction and pair of the containers' addresses:
#         udp|icmp|arp NAMESPACE INTERFACE in|out SOURCE TARGET COUNT
#         end NAMESPACE
# Of packets between hosts, only those in VXLAN are counted. An ARP request asks for the TARGET's hardware address.
use strict;
use warnings;
my ($space, $data, $probe, $seconds) = @ARGV;
my ($most, $outgoing, $icmp, $udp, $vxlan, $ethernet) = (4096, 4, 1, 17, 8, 14); # pairs; linux/if_packet.h: PACKET_OUTGOING; bytes of headers
$SIG{$_} = sub { exit 0 } for qw(TERM INT HUP PIPE ALRM);
alarm $seconds + 10;
{% include "clock.pl" %}

# Only what is needed reaches the socket (linux/filter.h): ARP, and UDP to the port of VXLAN or of the probe, or ICMP. Fragments of UDP
# are left out.
my @wanted = $data || $probe ? (0, $udp) : (5, $icmp);
my @filter = (
    [0x28, 0, 0, 0xffff_f000], [0x15, 8, 0, 0x0806], [0x15, 0, 8, 0x0800],     # the protocol
    [0x30, 0, 0, 9], [0x15, $wanted[0], 6, $wanted[1]], [0x28, 0, 0, 6], [0x45, 4, 0, 0x1fff],
    [0xb1, 0, 0, 0], [0x48, 0, 0, 2], [0x15, 0, 1, $data || $probe],
    [0x06, 0, 0, 256], [0x06, 0, 0, 0],
);
socket my $wire, 17, 2, 0 or die "packet(7): $!\n";  # AF_PACKET, SOCK_DGRAM
my $code = join "", map { pack "SCCL", @$_ } @filter;
setsockopt $wire, 1, 26, pack "S x![P] P", scalar @filter, $code or die "SO_ATTACH_FILTER: $!\n";
setsockopt $wire, 1, 8, pack "i", 1 << 20;  # SO_RCVBUF
bind $wire, pack "S n x16", 17, 3 or die "packet(7): $!\n";  # ETH_P_ALL

my %name;
sub name { # of an interface (netdevice(7): SIOCGIFNAME)
    my ($index) = @_;
    return $name{$index} //= do {
        my $request = pack "x16 i x20", $index;
        ioctl($wire, 0x8910, $request) ? unpack("Z16", $request) : "";
    };
}
sub address { join ".", unpack "C4", $_[0] }

sub pair { # the kind of a packet between two containers, and their addresses; nothing if it is none
    my ($type, $packet) = @_;
    if ($type == 0x0806) {
        return unless length $packet >= 28 && 1 == unpack "n", substr $packet, 6, 2;  # a request
        return ("arp", address(substr $packet, 14, 4), address(substr $packet, 24, 4));
    }
    return unless $type == 0x0800 && length $packet >= 28;
    my $at = 4 * (15 & ord $packet);
    return if length $packet < $at + 8 || 0x1fff & unpack("n", substr $packet, 6, 2) || vec($packet, 9, 8) != ($probe ? $udp : $icmp);
    return if $probe ? $probe != unpack "n", substr $packet, $at + 2, 2 : ~8 & ord substr $packet, $at;  # types 8 and 0
    return ($probe ? "udp" : "icmp", address(substr $packet, 12, 4), address(substr $packet, 16, 4));
}

my (%count, $until);
$until = now() + $seconds;
while ((my $wait = $until - now()) > 0) {
    my $ready = "";
    vec($ready, fileno $wire, 1) = 1;
    select $ready, undef, undef, $wait;
    while (defined(my $link = recv $wire, my $packet, 256, 64)) {  # MSG_DONTWAIT
        last if now() > $until;
        my ($type, $index, $way) = (unpack "S n i S C", $link)[1, 2, 4];
        if ($data) {
            next if $type == 0x0806;
            my $inner = 4 * (15 & ord $packet) + 8 + $vxlan + $ethernet;
            next unless length $packet > $inner;
            ($type, $packet) = (unpack("n", substr $packet, $inner - 2, 2), substr $packet, $inner);
        }
        my @found = pair($type, $packet) or next;
        my $key = join " ", $found[0], $space, name($index) || next, $way == $outgoing ? "out" : "in", @found[1, 2];
        $count{$key}++ if exists $count{$key} || keys %count < $most;
    }
}
print "$_ $count{$_}\n" for sort keys %count;
print "end $space\n";
