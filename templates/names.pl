# Asks the engine's DNS server in this network namespace for names of containers. Only reads; uses perl-base's modules only.
#
# Arguments: NAME/ID of each container: its name, and the ID under which every engine knows a container, named by people or not.
# Writes: "asked NUMBER", and a line for each container: its name, then for each of the two that is known its addresses, joined by
# commas ("-" if the answer has none). Unknown names are asked for three times, since gossip takes a moment, and the server may
# first ask others.
use strict;
use warnings;
use Socket;

my ($ROUNDS, $WAIT, $MORE) = (3, 0.7, 0.1);  # how often each name is asked for; seconds between two times, and once all are known
my $MOST = 16;  # addresses of one answer
my ($HEADER, $ANSWER) = (12, 0x8000);  # RFC 1035, section 4.1.1: bytes, and the bit of an answer
my (@left, %known) = @ARGV;
{% include "clock.pl" %}
sub question { my ($name) = @_; return join("", map { pack "C/a", $_ } grep length, split /\./, $name) . "\0" . pack "nn", 1, 1 }

# The addresses in an answer: its records begin at $at.
sub addresses {
    my ($data, $at, $count, @found) = @_;
    for (1 .. $count) {
        while ($at < length $data and my $size = ord substr $data, $at, 1) {
            $at += $size < 0xC0 ? 1 + $size : 1;
            last if $size >= 0xC0;  # a pointer of two bytes ends the name
        }
        last if ++$at + 10 > length $data;
        my ($type, undef, undef, $size) = unpack "n2 N n", substr $data, $at, 10;
        last if $at + 10 + $size > length $data or @found == $MOST;
        push @found, inet_ntoa(substr $data, $at + 10, 4) if $type == 1 && $size == 4;
        $at += 10 + $size;
    }
    return @found;
}

socket my $server, PF_INET, SOCK_DGRAM, 0 or exit 1;
connect $server, sockaddr_in(53, inet_aton("127.0.0.11")) or exit 1;
for (1 .. $ROUNDS) {
    my (%asked, $id);
    for my $container (@left) {
        for my $name (split m{/}, $container) {
            $asked{++$id} = [question($name), $container, $name];
            send $server, pack("n6", $id, 0x0100, 1, 0, 0, 0) . $asked{$id}[0], 0;
        }
    }
    my $until = now() + $WAIT;
    while ((my $more = $until - now()) > 0) {
        last if !%asked && !grep { !$known{$_} } @left;
        vec(my $ready = "", fileno $server, 1) = 1;
        select $ready, undef, undef, $more or last;
        defined recv $server, my $data, 4096, MSG_DONTWAIT or last;
        next if length $data < $HEADER;
        my ($number, $flags, undef, $answers) = unpack "n4", $data;
        my ($question, $container, $name) = @{$asked{$number} || next};
        next if !($flags & $ANSWER) || lc substr($data, $HEADER, length $question) ne lc $question;
        delete $asked{$number};
        next if !$answers || $flags & 15;
        $known{$container}{$name} = join(",", addresses($data, $HEADER + length $question, $answers)) || "-";
        $until = now() + $MORE if $until > now() + $MORE && !grep { !$known{$_} } @left;
    }
    @left = grep { !$known{$_} } @left or last;
}
my @lines;
for my $container (@ARGV) {
    my ($name) = my @both = split m{/}, $container;
    push @lines, join(" ", $name, map { $known{$container}{$_} // () } @both) . "\n";
}
print "asked ", scalar @ARGV, "\n", @lines;
