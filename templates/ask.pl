# What the engine of this host is asked over its socket, for the programs that begin with this: it costs a host a tenth of
# what the `docker` command does. Gives the answer's code and what was said; dies where there is none, within so many seconds.
use strict; use warnings;
sub ask { # METHOD PATH BODY SECONDS HEADERS
    my ($method, $path, $body, $seconds, @headers) = @_;
    my $answer = "";
    local $SIG{ALRM} = sub { die "no answer in time\n" };
    alarm $seconds;
    socket my $engine, 1, 1, 0 or die "$!\n"; # AF_UNIX, SOCK_STREAM
    connect $engine, pack "S a108", 1, "/var/run/docker.sock" or die "can't connect to /var/run/docker.sock: $!\n";
    syswrite $engine, "$method $path HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        . length($body) . join("", map { "\r\n$_" } @headers) . "\r\n\r\n$body";
    1 while sysread $engine, $answer, 65536, length $answer;
    alarm 0;
    my ($code, $said) = $answer =~ m{^HTTP/\S+ (\d+).*?\r\n\r\n(.*)}s or die "it gave no answer\n";
    $said = $1 if $code >= 300 && $said =~ /"message":"((?:[^"\\]|\\.)*)"/;
    return ($code, $said);
}
