# Sends ICMP echo requests from this network namespace to containers: small ones, and ones of the interface's full size. Changes
# nothing; uses perl-base's modules only.
#
# Arguments: IPv4 addresses. Writes: "asked NUMBER", and for each address without an answer to the large one: ADDRESS none|small
use strict;
use warnings;
use Socket;

my ($ROUNDS, $WAIT, $SMALL) = (3, 0.5, 64);  # how often each address is asked; seconds between two times; bytes with all headers
{% include "clock.pl" %}
socket my $echo, PF_INET, SOCK_RAW, 1 or exit 1;
setsockopt $echo, 0, 10, pack "i", 3 or exit 1;  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE: set DF, ignore the cached path MTU

sub mtu { # of the interface that leads to an address
    my ($address) = @_;
    socket my $socket, PF_INET, SOCK_DGRAM, 17 or return $SMALL;
    connect $socket, sockaddr_in(9, inet_aton($address)) or return $SMALL;
    return unpack "i", getsockopt $socket, 0, 14;  # IP_MTU
}

sub request { # NUMBER BYTES
    my ($number, $size) = @_;
    my $message = pack "C2 n3 x" . ($size - 28), 8, 0, 0, $$ & 0xffff, $number;
    my $sum = unpack "%32n*", $message . ("\0" x (length($message) % 2));
    $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16;
    substr $message, 2, 2, pack "n", ~$sum & 0xffff;
    return $message;
}

my (%answered, @asked);  # by number: small ones are even
push @asked, [$_, $SMALL], [$_, mtu($_)] for @ARGV;
for (1 .. $ROUNDS) {
    last if keys %answered == @asked;
    for my $number (grep { !$answered{$_} } 0 .. $#asked) {
        my ($address, $size) = @{$asked[$number]};
        send $echo, request($number, $size), 0, sockaddr_in(0, inet_aton($address));
    }
    my $until = now() + $WAIT;
    while (keys %answered < @asked && (my $more = $until - now()) > 0) {
        vec(my $ready = "", fileno $echo, 1) = 1;
        select $ready, undef, undef, $more or last;
        defined(my $from = recv $echo, my $packet, 128, MSG_DONTWAIT) or last;
        my ($type, $id, $number) = (unpack "C2 n3", substr $packet, 4 * (15 & ord $packet))[0, 3, 4];
        next if !defined $number || $type || $id != ($$ & 0xffff) || !$asked[$number];
        $answered{$number} = 1 if inet_ntoa((sockaddr_in($from))[1]) eq $asked[$number][0];
    }
}
print "asked ", scalar @ARGV, "\n";
for my $at (grep { !$answered{2 * $_ + 1} } 0 .. $#ARGV) { print "$ARGV[$at] ", $answered{2 * $at} ? "small" : "none", "\n" }
