# Prints the interfaces and IPv4 addresses of its network namespace in one line, and ends with its input.
# Arguments as of probe.pl: RUN, number, seconds to live.
use strict;
use warnings;

$SIG{$_} = sub { exit(0) } for qw(TERM INT HUP PIPE ALRM);
alarm(($ARGV[2] // 10) + 15);
open my $devices, "<", "/proc/net/dev" or die "no /proc/net/dev: $!\n";
my @names = sort map { /^\s*([^\s:]+):/ ? $1 : () } <$devices>;
open my $trie, "<", "/proc/net/fib_trie" or die "no /proc/net/fib_trie: $!\n";
my ($last, %address) = ("");
while (<$trie>) {
    $last = $1 if /^\s*\|-- (\S+)/;
    $address{$last} = 1 if m{^\s*/32 host LOCAL};
}
my $line = "interfaces " . join(",", @names) . " " . (join(",", sort keys %address) || "none") . "\n";
syswrite STDOUT, $line;
1 while sysread STDIN, my $rest, 65536;
exit(0);
