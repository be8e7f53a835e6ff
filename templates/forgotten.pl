# Finds connections that a swarm's load balancers no longer know. Only reads; uses no modules.
#
# Arguments: the ends of each connection, as `ss` prints them: FROM TO FROM TO ... Standard input: /proc/net/ip_vs_conn of the load
# balancers. Writes FROM TO of each connection that they lack.
use strict;
use warnings;

my $MOST = 50;  # lines
my %known;
while (<STDIN>) {
    my ($protocol, @ends) = split;
    next if @ends < 4 || $protocol ne "TCP";
    my ($from, $to) = map { join(".", map { hex } $ends[$_] =~ /^(..)(..)(..)(..)$/) . ":" . hex $ends[$_ + 1] } 0, 2;
    $known{"$from $to"} = 1;
}
while (my ($from, $to) = splice @ARGV, 0, 2) {
    defined $to or last;
    s/^\[?::ffff:([\d.]+)\]?:/$1:/ for $from, $to;  # of a program that uses sockets for IPv6
    print "$from $to\n" if !$known{"$from $to"} && $MOST-- > 0;
}
