# Written by provisioner. Brings this host's engine and those of the other hosts together in one gossip (serf, 7946/tcp).
# An engine of the store's days tries one neighbour once, when it learns of it; engines that start at the same moment
# find that one's port still closed, and stay apart until a host is added (libnetwork: overlay's nodeJoin).
# Members exchange their whole state now and then (memberlist's push/pull). What one of them answers to an empty state is
# a state of its own, which is handed to the other as it is: nothing is made up here, and knowing each other already is fine.
# Arguments: this host's advertised address, and those of all others.
use strict; use warnings; use Socket;
$| = 1; $SIG{PIPE} = "IGNORE";
my ($own, @peers) = @ARGV;
my $nothing = "\x06\x83\xa5Nodes\0\xacUserStateLen\0\xa4Join\xc2";    # push/pull: no nodes, no join
sub told {    # what that engine knows, after it was told the state; empty: it does not answer
    my ($to, $state) = @_;
    my $answer = "";
    eval {
        local $SIG{ALRM} = sub { die "no answer\n" };
        alarm 2;
        socket my $socket, PF_INET, SOCK_STREAM, 0 or die "$!\n";
        connect $socket, sockaddr_in(7946, inet_aton $to) or die "$!\n";
        for (my $sent = 0; $sent < length $state;) { $sent += syswrite($socket, $state, 65536, $sent) // die "$!\n" }
        1 while sysread $socket, $answer, 65536, length $answer;
    };
    alarm 0;
    return $answer;
}
my ($mine, $until) = ("", time + 120);    # without a store an engine needs 60 seconds for its start, and 20 more
until (length($mine = told($own, $nothing))) {
    die "the engine does not listen to gossip on $own:7946\n" if time > $until;
    select undef, undef, undef, 0.1;
}
for my $peer (@peers) {
    my $theirs = told($peer, $mine);
    told($own, $theirs) if length $theirs;
    print length $theirs ? "$peer: met\n" : "$peer: no answer\n";    # it comes here when it starts
}
