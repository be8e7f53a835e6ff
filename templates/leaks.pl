# Watches the packets that the probe sends to the cluster's ports of other hosts (probe.pl: "wall"). The firewall must drop
# them. Those that leave this host are seen by packet(7), as they are passed to an interface, after all rules and address
# translation. Prints "watching leaks", then a line for each: "leaks ADDRESS PORT/PROTOCOL". After TERM it reads what is queued,
# and ends.
# Arguments: the probe's RUN, its TCP source port, the TCP ports (1,2,...), and the seconds after which to end in any case.
use strict; use warnings;
my ($run, $source, $tcp, $life) = @ARGV;
my $over;
$SIG{TERM} = sub { $over = 1 };
alarm $life;
my $mark = "provisioner-wall $run";
my %tcp = map { $_ => 1 } split /,/, $tcp;
# A BPF filter (linux/filter.h: [code, jump if true, jump if false, value]), so that no other packet is received: outgoing
# (linux/if_packet.h), IPv4, and TCP from the source port or UDP that begins with the first four letters of the mark.
my @filter = (
    [0x20, 0, 0, 0xffff_f004], [0x15, 0, 11, 4],
    [0x20, 0, 0, 0xffff_f000], [0x15, 0, 9, 0x0800],
    [0xb1, 0, 0, 0], [0x30, 0, 0, 9], [0x15, 3, 0, 6], [0x15, 0, 5, 17],
    [0x40, 0, 0, 8], [0x15, 2, 3, unpack "N", $mark],
    [0x48, 0, 0, 0], [0x15, 0, 1, $source],
    [0x06, 0, 0, 128], [0x06, 0, 0, 0],
);
my $filter = join "", map { pack "SCCL", @$_ } @filter;
# The socket has no protocol until the filter is set; packets before that would be queued unfiltered.
socket my $all, 17, 2, 0 or sleep, exit; # AF_PACKET, SOCK_DGRAM
setsockopt $all, 1, 26, pack "S x![P] P", scalar @filter, $filter or sleep, exit; # SO_ATTACH_FILTER
bind $all, pack "S n x16", 17, 3 or sleep, exit; # struct sockaddr_ll: ETH_P_ALL, every interface
syswrite STDOUT, "watching leaks\n";
my %printed;
my $bits = "";
vec($bits, fileno $all, 1) = 1;
while (1) {
    my $ready = select my $there = $bits, undef, undef, $over ? 0 : 0.3; # with a timeout: a signal may arrive just before select
    exit if !$ready && $over;
    defined recv $all, my $packet, 128, 64 or next; # MSG_DONTWAIT
    my $header = 4 * (ord($packet) & 15);
    my $port = unpack "n", substr $packet, $header + 2, 2;
    my $kind = 6 == ord(substr $packet, 9, 1) ? "tcp" : "udp";
    next unless $kind eq "tcp" ? $tcp{$port} && 2 & ord substr $packet, $header + 13, 1 : $mark eq substr $packet, $header + 8;
    my $line = "leaks " . join(".", unpack "C4", substr $packet, 16, 4) . " $port/$kind\n";
    syswrite STDOUT, $line unless $printed{$line}++;
}
