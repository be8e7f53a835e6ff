# How an encrypted network's packets leave this host: seen where they are given to an interface, by packet(7), after IPsec has
# had them. One line for each host that they go to: "esp ADDRESS" of any packet of IP protocol 50, and "clear ADDRESS" of one
# of this network's in VXLAN that anybody on the way can read. Ends with TERM, and not before where the host lets nobody
# watch: who sends it must find us.
# Arguments: the port of VXLAN, the network's number in it (VNI), and after how many seconds to end in any case.
use strict; use warnings;
my ($port, $vni, $life) = @ARGV;
$SIG{TERM} = "DEFAULT"; # the shell that starts us ignores it
alarm $life;
# bpf(4) as in linux/filter.h, so that no other packet of the host's gets here: [code, if so, if not, value]; outgoing
# (linux/if_packet.h), IPv4, protocol 50, or UDP to the port.
my @filter = (
    [0x20, 0, 0, 0xffff_f004], [0x15, 0, 9, 4],
    [0x20, 0, 0, 0xffff_f000], [0x15, 0, 7, 0x0800],
    [0x30, 0, 0, 9], [0x15, 4, 0, 50], [0x15, 0, 4, 17],
    [0xb1, 0, 0, 0], [0x48, 0, 0, 2], [0x15, 0, 1, $port],
    [0x06, 0, 0, 128], [0x06, 0, 0, 0],
);
my $filter = join "", map { pack "SCCL", @$_ } @filter;
# Of no protocol until the filter is there: what passes before would be queued unfiltered.
socket my $all, 17, 2, 0 or sleep; # AF_PACKET, SOCK_DGRAM
setsockopt $all, 1, 26, pack "S x![P] P", scalar @filter, $filter or sleep; # SO_ATTACH_FILTER
bind $all, pack "S n x16", 17, 3 or sleep; # struct sockaddr_ll: ETH_P_ALL, every interface
my %told;
while (defined recv $all, my $packet, 128, 0) {
    my $header = 4 * (ord($packet) & 15);
    my $esp = 50 == ord substr $packet, 9, 1;
    next unless $esp || length $packet >= $header + 16 && $vni == unpack "N", "\0" . substr $packet, $header + 12, 3;
    my $line = ($esp ? "esp " : "clear ") . join(".", unpack "C4", substr $packet, 16, 4) . "\n";
    syswrite STDOUT, $line unless $told{$line}++;
}
