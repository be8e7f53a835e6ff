# An unprivileged local user who takes Consul's port before Consul starts. It answers every request as Consul's leader would. To
# the answer it appends forged sections of the reading script's output, in every frame that it can learn from /proc. It records
# all requests.
# Arguments: a file to wait for, the file for the requests, and the forged sections as NAME=BODY with \n for newlines.
use strict; use warnings; use Socket;
my ($after, $heard, @forged) = @ARGV;
select undef, undef, undef, 0.01 until -e $after;
s/\\n/\n/g for @forged;
socket my $server, PF_INET, SOCK_STREAM, 0 or die $!;
setsockopt $server, SOL_SOCKET, SO_REUSEADDR, 1;
until (bind $server, sockaddr_in(8500, INADDR_LOOPBACK)) { select undef, undef, undef, 0.02 }
listen $server, 50 or die $!;
$SIG{PIPE} = "IGNORE";
sub frames { # each forged section, framed by a length and by every word of a process's arguments that could be a marker
    my %words;
    for my $path (glob "/proc/[0-9]*/cmdline") {
        open my $file, "<", $path or next;
        local $/;
        $words{$_} = 1 for split /\0|\s/, <$file> // "";
    }
    my @marks = grep { /^[0-9a-f]{16,64}$/ } keys %words;
    return join "", map { my ($name, $body) = split /=/, $_, 2; ((map { "\n$_ $name\n$body" } @marks), "\n$name " . length($body) . "\n$body\n") } @forged;
}
while (accept my $guest, $server) {
    my $request = "";
    1 while $request !~ /\r\n\r\n/ && sysread $guest, $request, 4096, length $request;
    open my $file, ">>", $heard; print $file $request; close $file;
    my ($path) = $request =~ /^\S+ (\S+)/ or next;
    my $json = $path =~ /leader/ ? '"192.168.56.11:8300"' : $path =~ /peers/ ? '["192.168.56.11:8300","192.168.56.12:8300","192.168.56.13:8300"]' : '[]';
    my $body = $request =~ m{HTTP/1.0} ? $json . frames() : $json; # HTTP/1.1 comes from the controller itself
    syswrite $guest, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " . length($body) . "\r\nConnection: close\r\n\r\n$body";
    close $guest;
}
