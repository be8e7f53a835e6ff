# Written by provisioner. Exits with 0 when a server of the store answers that it has a leader: consul, etcd or zookeeper,
# at one of ADDRESS:PORT ...; any: when one takes connections, which is all that can be told of a store that speaks TLS.
# What perl-base has is enough.
use strict;
use warnings;
my ($kind, @servers) = @ARGV;
my ($inet, $stream) = (2, 1);    # Linux's numbers: the module Socket takes longer to load than all else here

sub answer {
    my ($server) = @_;
    my ($host, $port) = $server =~ /^(.+):(\d+)$/ or return "";
    my $address = gethostbyname $host or return "";
    my $text = "";
    eval {
        local $SIG{ALRM} = sub { die "too long\n" };
        alarm 3;
        my $s;
        socket($s, $inet, $stream, 0) && connect($s, pack "S n a4 x8", $inet, $port, $address) or die "$!\n";
        if ($kind eq "any") { $text = "connected"; return }
        my $path = { consul => "/v1/status/leader", etcd => "/health" }->{$kind};
        syswrite $s, $path ? "GET $path HTTP/1.0\r\nHost: $server\r\n\r\n" : "srvr";
        1 while sysread $s, $text, 65536, length $text;
    };
    alarm 0;
    return $text;
}

my $healthy = {
    consul    => qr/\r\n\r\n"[^"]/,
    etcd      => qr/"health":\s*"?true/,
    any       => qr/^connected$/,
    zookeeper => qr/^Mode: (leader|follower|standalone)/m,
}->{$kind};
for my $server (@servers) {
    exit 0 if answer($server) =~ $healthy;
}
print STDERR "no server of the store has a leader: @servers\n";
exit 1;
