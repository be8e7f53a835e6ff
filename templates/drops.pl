# Records why the kernel drops our datagrams, with an instance of its tracing of its own. Needs root, in a mount namespace of its own.
#
# The instance has a random name and exists only while this runs: a guard, which outlives this program by a moment, removes it when
# this program ends for whatever reason. The host's mounts stay as they are, since a mount of tracefs ends with the namespace.
# The kernel's events have neither ports nor hosts. Datagrams to this host are recognised by their length (netif_receive_skb has the
# same buffer on the same CPU shortly before), datagrams from this host by the name of the program that sends them.
#
# Arguments: LENGTH NAME [TOKEN]    of datagrams to this host, with their IP header; of the sending program; of the instance, if not random
# Reads:  anything, or the end of input, ends the recording. It also ends by itself after 30 seconds.
# Writes: ready, or: none WHY
#         drop in|out COUNT REASON LOCATION
#         end
use strict;
use warnings;
my ($length, $name, $token) = @ARGV;
my ($root, $most, $soon) = ("/sys/kernel/tracing", 8 << 20, 0.005);  # bytes of events; seconds from arrival to drop
$| = 1;
sub none { print "none $_[0]\n"; exit 0 }
-d $root or none("the kernel has no tracing");
-d "$root/instances" || !system "mount", "-t", "tracefs", "tracefs", $root or none("tracefs can't be mounted");
open my $random, "<:raw", "/dev/urandom" or none("there is no /dev/urandom");
sysread $random, my $bytes, 8;
my $own = "$root/instances/provisioner-" . ($token // unpack "H16", $bytes);

sub put { # Writes a word to a file of the instance. Returns whether it worked.
    my ($file, $word) = @_;
    open my $out, ">", "$own/$file" or return;
    return syswrite($out, "$word\n") && close $out;
}
sub remove { put("tracing_on", 0); for (1 .. 200) { return if rmdir $own or !-d $own; select undef, undef, undef, 0.02 } }

pipe my $alive, my $held or none("pipe: $!");
my $guard = fork // none("fork: $!");
if (!$guard) {
    $SIG{$_} = "IGNORE" for qw(TERM INT HUP PIPE QUIT);
    setpgrp;
    close $_ for $held, *STDIN, *STDOUT, *STDERR;
    sysread $alive, my $nothing, 1;  # until this program has ended
    remove();
    exit 0;
}
close $alive;
$SIG{$_} = sub { exit 0 } for qw(TERM INT HUP PIPE);
mkdir $own or none("no instance of the tracing can be created: $!");
open my $format, "<", "$own/events/skb/kfree_skb/format" or none("the kernel does not record drops");
grep { /reason/ } <$format> or none("the kernel records no reasons: that needs Linux 5.17");
close $format;
put("events/skb/kfree_skb/filter", "protocol == 2048") && put("events/net/netif_receive_skb/filter", "len == $length")
    && put("events/net/netif_receive_skb/enable", 1) && put("events/skb/kfree_skb/enable", 1) or none("the kernel's tracing can't be used: $!");
print "ready\n";
my $ready = "";
vec($ready, fileno STDIN, 1) = 1;
select $ready, undef, undef, 30;
put("tracing_on", 0);

my (%came, %count, $read);
open my $trace, "<", "$own/trace" or none("the trace can't be read: $!");
while (<$trace>) {
    last if ($read += length) > $most;
    my ($program, $cpu, $at, $event, $rest) = /^\s*(.+?)-\d+\s+\[(\d+)\]\s.*?\s([\d.]+): (netif_receive_skb|kfree_skb): (.*)/ or next;
    my ($buffer) = $rest =~ /skbaddr=(\S+)/ or next;
    if ($event eq "netif_receive_skb") { $came{"$cpu $buffer"} = $at; next }
    my ($place, $reason) = $rest =~ /location=([A-Za-z0-9_.]+)\S* (?:\[\S+\] )?reason: ([A-Z0-9_]+)/ or next;
    my $arrived = delete $came{"$cpu $buffer"};
    my $way = defined $arrived && $at - $arrived < $soon ? "in" : $program eq $name ? "out" : next;
    $count{"$way $reason $place"}++;
}
close $trace;
close $held;
waitpid $guard, 0;
for (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count) {
    my ($way, $reason, $place) = split;
    print "drop $way $count{$_} $reason $place\n";
}
print "end\n";
