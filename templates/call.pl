# Opens TCP connections from this network namespace, all at once, and closes them. Sends no data; uses perl-base's modules only.
#
# Arguments: ADDRESS:PORT of each connection; the same one can be there several times. Writes: "asked NUMBER", and a line for each
# connection: ADDRESS:PORT open|refused|silent
use strict;
use warnings;
use Socket;
use Errno;
use IO::Handle;

my $WAIT = 2.5;  # seconds; the kernel repeats the first packet after one second
{% include "clock.pl" %}
my (@said, %waiting);
for my $at (0 .. $#ARGV) {
    my ($address, $port) = split /:/, $ARGV[$at];
    socket my $socket, PF_INET, SOCK_STREAM, 0 or exit 1;
    $socket->blocking(0);
    if (connect $socket, sockaddr_in($port, inet_aton($address))) { $said[$at] = "open" }
    elsif ($!{EINPROGRESS}) { $waiting{$at} = $socket }
    else { $said[$at] = $!{ECONNREFUSED} ? "refused" : "silent" }
}
my $until = now() + $WAIT;
while (%waiting && (my $more = $until - now()) > 0) {
    my $ready = "";
    vec($ready, fileno $_, 1) = 1 for values %waiting;
    select undef, $ready, undef, $more or last;
    for my $at (keys %waiting) {
        vec($ready, fileno $waiting{$at}, 1) or next;
        $! = unpack "i", getsockopt $waiting{$at}, SOL_SOCKET, SO_ERROR;
        $said[$at] = !$! ? "open" : $!{ECONNREFUSED} ? "refused" : "silent";
        delete $waiting{$at};
    }
}
print "asked ", scalar @ARGV, "\n";
print "$ARGV[$_] ", $said[$_] || "silent", "\n" for 0 .. $#ARGV;
