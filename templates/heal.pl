# An engine of the store's days leaves a thread in the network namespace of an overlay whose last container has gone
# (libnetwork#1838: watchMiss). What later runs on that thread reaches nothing: the watch of names fails at its start, and
# a container never resolves another's name. A request to its macvlan driver puts the thread that serves it back into the
# host's namespace, also one that is refused, as these are: the mode does not exist. Nothing is made or kept.
# Argument: for how many seconds to look.
use strict; use warnings; use Socket;
my $until = time + shift;
open my $file, "<", "/run/docker.pid" or exit;
my ($pid) = <$file> =~ /(\d+)/ or exit;
sub lost {
    my $own = readlink "/proc/1/ns/net";
    my %live = map { ("net:[" . (stat $_)[1] . "]" => 1) } glob "/run/docker/netns/*";
    return grep { defined && $_ ne $own && !$live{$_} } map { readlink "$_/ns/net" } glob "/proc/$pid/task/*";
}
sub ask {
    my ($number) = @_;
    my $body = qq({"Name":"provisioner-none-$number","Driver":"macvlan","Options":{"macvlan_mode":"none"},)
        . qq("IPAM":{"Config":[{"Subnet":"127.0.$number.0/24"}]}});
    socket my $socket, PF_UNIX, SOCK_STREAM, 0 or return;
    connect $socket, sockaddr_un("/var/run/docker.sock") or return;
    syswrite $socket, "POST /networks/create HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        . "Content-Length: " . length($body) . "\r\n\r\n$body";
    return $socket;
}
$SIG{ALRM} = sub { exit };
alarm $until - time + 10;
for (my $rounds = 0; $rounds < 40;) {
    if (lost()) {
        select undef, undef, undef, 0.1 if $rounds++ > 3;        # a thread that is busy elsewhere: nothing to hurry for
        my @asked = grep { defined } map { ask($_) } 1 .. 32;    # many at once: every idle thread gets one
        for my $socket (@asked) { 1 while sysread $socket, my $answer, 65536 }
    }
    elsif (time >= $until) { last }
    else { select undef, undef, undef, 0.3 }
}
