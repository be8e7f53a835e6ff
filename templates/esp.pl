# Watches how packets of an encrypted network leave this host: by packet(7), as they are passed to an interface, after IPsec.
# Prints a line for each host that they are sent to: "esp ADDRESS" for any packet of IP protocol 50, and "clear ADDRESS" for an
# unencrypted VXLAN packet of this network. Ends with TERM, also on a host that forbids watching: the sender of the signal must
# find this process.
# Arguments: the port of VXLAN, the network's VNI, and the seconds after which to end in any case.
use strict; use warnings;
my ($port, $vni, $life) = @ARGV;
$SIG{TERM} = "DEFAULT"; # the shell that starts us ignores it
alarm $life;
# A BPF filter (linux/filter.h: [code, jump if true, jump if false, value]), so that no other packet is received: outgoing
# (linux/if_packet.h), IPv4, and protocol 50 or UDP to the port.
my @filter = (
    [0x20, 0, 0, 0xffff_f004], [0x15, 0, 9, 4],
    [0x20, 0, 0, 0xffff_f000], [0x15, 0, 7, 0x0800],
    [0x30, 0, 0, 9], [0x15, 4, 0, 50], [0x15, 0, 4, 17],
    [0xb1, 0, 0, 0], [0x48, 0, 0, 2], [0x15, 0, 1, $port],
    [0x06, 0, 0, 128], [0x06, 0, 0, 0],
);
my $filter = join "", map { pack "SCCL", @$_ } @filter;
# The socket has no protocol until the filter is set; packets before that would be queued unfiltered.
socket my $all, 17, 2, 0 or sleep; # AF_PACKET, SOCK_DGRAM
setsockopt $all, 1, 26, pack "S x![P] P", scalar @filter, $filter or sleep; # SO_ATTACH_FILTER
bind $all, pack "S n x16", 17, 3 or sleep; # struct sockaddr_ll: ETH_P_ALL, every interface
my %printed;
while (defined recv $all, my $packet, 128, 0) {
    my $header = 4 * (ord($packet) & 15);
    my $esp = 50 == ord substr $packet, 9, 1;
    next unless $esp || length $packet >= $header + 16 && $vni == unpack "N", "\0" . substr $packet, $header + 12, 3;
    my $line = ($esp ? "esp " : "clear ") . join(".", unpack "C4", substr $packet, 16, 4) . "\n";
    syswrite STDOUT, $line unless $printed{$line}++;
}
