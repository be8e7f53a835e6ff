# Tests the underlay paths from one host to the others. Needs root, and only the modules of perl-base.
#
# Works on ports that engines and stores use. Every datagram is counted at three points: when it leaves the sender (packet(7), after
# the sender's rules), when it arrives at the receiver (packet(7), before the receiver's rules), and after the receiver's rules
# (raw(7) gets a copy, whichever process has the port). Engines ignore the datagrams: VXLAN with an unused VNI, and to other UDP
# ports an empty compound message of memberlist.
#
# Arguments: commands that print all rules of the host's firewall with their counters.
# Reads:  run TOKEN SOURCE    16 hexadecimal digits that mark our datagrams; the source port of our TCP connections
#         me NUMBER ADDRESS DATA-PORT
#         sizes BYTES,...    of the packets with DF set that find out which size passes
#         peer NUMBER ADDRESS UDP-PORT:COUNT,... TCP-PORT,...    the datagrams to each port; "-": no port. Both ends have the same counts
#         prepare    after all of these
#         go SECONDS NUMBER ...    the longest time for connections; the numbers of the peers that also send
#         stop    after all hosts have ended. The program also ends when its input ends.
# Writes: ready
#         ended    after its last datagram, and after the last connection is open, refused, or given up. Then, for each peer:
#         sent PEER PORT COUNT REASON...        datagrams passed to the kernel, and why it refused some
#         left PEER PORT COUNT SOURCE,...       datagrams that left this host, and their source addresses
#         came PEER PORT COUNT SOURCE,...       datagrams that arrived from this peer, and their source addresses
#         took PEER PORT COUNT                  those of them that passed this host's rules
#         missed COUNT                          datagrams that arrived faster than this program read them
#         size PEER BYTES                       the largest packet with DF set that arrived from this peer
#         mtu PEER BYTES                        the MTU of the path to this peer, as this host's kernel knows it
#         tcp PEER PORT open|refused|silent|error SECONDS SYN-LEFT ANSWER-CAME REASON...
#         syn PEER PORT CAME TOOK ANSWERED      connections from this peer: SYNs that arrived, passed the rules, were answered
#         mac PEER MAC ...                      who answers ARP requests for the peer's address; peer 0: for our own
#         rule TOOL TABLE PACKETS HEX           a rule or policy that counted packets during the test
#         dropped COUNTER PACKETS               a counter of packets that the kernel drops outside of rules, if it rose during the test
#         done SECONDS
use strict;
use warnings;
use Errno qw(EINPROGRESS);
use Socket;

my ($ROUNDS, $AT_ONCE, $EVERY) = (40, 2, 0.02);  # each path gets all sizes in so many rounds; rounds without a pause, seconds of a pause
my $LONGEST = 3;  # seconds after which no more than these rounds are sent
my ($SETTLE, $LATEST) = (0.3, 3);  # when all hosts have ended: seconds without a datagram after which none is expected; the most seconds
my $MOST = 10;  # seconds to wait until all hosts have ended
my $VNI = 0xfffffe;
$SIG{$_} = sub { exit 0 } for qw(TERM INT HUP PIPE ALRM);
alarm 60;
$| = 1;

{% include "clock.pl" %}
my ($token, $source, $me, $own, $data, @sizes, %peers, %number, @order);
my ($seconds, %sender);

# The counters of all rules, parsed from the output of our arguments (iptables-save -c, nft -a list ruleset). Rules of nft without a
# counter are in %uncounted if they drop packets.
my %uncounted;
sub counters {
    my %found;
    for my $command (@ARGV) {
        my ($tool) = split " ", $command;
        my ($table, $chain, $at) = ("", "", 0);
        for (split /\n/, `$command 2>/dev/null`) {
            if (/^\*(\S+)/) { ($table, $at) = ($1, 0) }
            elsif (/^table (\S+) (\S+)/) { $table = "$1,$2" }
            elsif (/^\s+chain (\S+)/) { $chain = $1 }
            elsif (/^\[(\d+):\d+\] (.+)/) { $found{"$tool $table " . $at++ . " $2"} = $1 }
            elsif (/^:(\S+) (DROP|ACCEPT) \[(\d+):/) { $found{"$tool $table 0 :$1 $2"} = $3 }
            elsif (/counter packets (\d+) bytes \d+/) {
                my $packets = $1;
                s/counter packets \d+ bytes \d+/counter/;
                s/^\s+//;
                $found{"$tool $table,$chain 0 $_"} = $packets;
            }
            elsif ($tool eq "nft" && /\b(?:drop|reject)\b/) { s/^\s+//; $uncounted{"$tool $table,$chain 0 $_"} = 1 }
        }
    }
    return \%found;
}

# The kernel's own counters of packets that it drops: for IPsec policies, the reverse path filter, and routes.
sub drops {
    my (%found, @names);
    for (`cat /proc/net/snmp /proc/net/netstat /proc/net/xfrm_stat 2>/dev/null`) {
        my ($kind, @values) = split;
        if ($kind !~ /:$/) { $found{$kind} = $values[0] }
        elsif (@names) { @found{@names} = @values; @names = () }
        else { @names = map { "$kind$_" } @values }
    }
    return {map { (/^(?:\w+:)?(\w+)$/)[0] => $found{$_} } grep { /^Xfrm\w+$|:(?:IPReversePathFilter|(?:Out|In)NoRoutes)$/ } keys %found};
}

sub filtered { # attach a BPF filter to a socket before it receives anything
    my ($socket, @filter) = @_;
    my $code = join "", map { pack "SCCL", @$_ } @filter;
    setsockopt $socket, 1, 26, pack "S x![P] P", scalar @filter, $code or die "SO_ATTACH_FILTER: $!\n";
    setsockopt $socket, 1, 33, pack "i", 4 << 20;  # SO_RCVBUFFORCE
    return $socket;
}

# Our datagrams carry the token after eight bytes; our TCP connections have the source port. Offsets as in linux/filter.h.
sub ours {
    my @first = unpack "N", pack "H8", $token;
    return (
        [0xb1, 0, 0, 0], [0x30, 0, 0, 9], [0x15, 3, 0, 6], [0x15, 0, 7, 17],
        [0x40, 0, 0, 16], [0x15, 4, 5, $first[0]],
        [0x48, 0, 0, 0], [0x15, 2, 0, $source], [0x48, 0, 0, 2], [0x15, 0, 1, $source],
        [0x06, 0, 0, 128], [0x06, 0, 0, 0],
    );
}

while (<STDIN>) {
    my ($word, @rest) = split;
    if ($word eq "run") { ($token, $source) = @rest }
    elsif ($word eq "me") { ($me, $own, $data) = @rest; $0 = "provisioner-$me" }  # drops.pl looks for this name
    elsif ($word eq "sizes") { @sizes = split /,/, $rest[0] }
    elsif ($word eq "peer") {
        my ($number, $address, $udp, $tcp) = @rest;
        push @order, $number;
        my %counts = map { split /:/ } grep { $_ ne "-" } split /,/, $udp;
        $peers{$number} = {address => $address, counts => \%counts, udp => [sort keys %counts], tcp => [grep { $_ ne "-" } split /,/, $tcp]};
        $number{$address} = $number;
    }
    last if $word eq "prepare";
}
exit unless $token;

my ($before, $drops) = (counters(), drops());
socket my $wire, 17, 2, 0 or die "packet(7): $!\n";  # AF_PACKET, SOCK_DGRAM
filtered($wire, [0x20, 0, 0, 0xffff_f000], [0x15, 1, 0, 0x0800], [0x06, 0, 0, 0], ours());
bind $wire, pack "S n x16", 17, 3 or die "packet(7): $!\n";  # ETH_P_ALL, every interface
socket my $arp, 17, 2, 0 or die "packet(7): $!\n";
bind $arp, pack "S n x16", 17, 0x0806 or die "packet(7): $!\n";
socket my $udp_taken, PF_INET, SOCK_RAW, 17 or die "raw(7): $!\n";
socket my $tcp_taken, PF_INET, SOCK_RAW, 6 or die "raw(7): $!\n";
filtered($_, ours()) for $udp_taken, $tcp_taken;
socket my $out, PF_INET, SOCK_DGRAM, 17 or die "udp(7): $!\n";
setsockopt $out, 0, 10, pack "i", 3;  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE: set DF, ignore the cached path MTU
print "ready\n";
while (<STDIN>) {
    my ($word, @rest) = split;
    next unless $word eq "go";
    $seconds = shift @rest;
    %sender = map { $_ => 1 } @rest;
    last;
}
exit unless defined $seconds;

my (%sent, %tried, %refused, %left, %from, %came, %origin, %took, %size, %tcp, %syn, %mac, %seen);
my ($interface, $hardware);
my $began = now();
my $last = 0;  # when the last datagram of a peer arrived

sub datagram { # PEER PORT KIND SIZE
    my ($peer, $port, $kind, $size) = @_;
    my $lead = $port == $data ? pack "N N", 0x0800_0000, $VNI << 8 : pack "C2 x6", 7, 0;
    my $number = $sent{$peer}{$port} || 0;
    $tried{$peer}{$port}++ unless $size;
    my $body = $lead . pack("H16", $token) . pack "n n n a", $me, $peer, $number, $kind;
    # drops.pl recognises small datagrams by their length, which tells their receiver.
    $body .= "\0" x ($size ? $size - 28 - length $body : $peer % 100);
    if (defined send $out, $body, 0, sockaddr_in($port, inet_aton($peers{$peer}{address}))) {
        $sent{$peer}{$port} = $number + 1;
    } elsif (!$size) {
        $sent{$peer}{$port} = $number + 1;
        $refused{$peer}{$port} = "$!";
    }
}

sub of_wire { # a packet that leaves or arrives
    my ($packet, $link) = @_;
    my ($index, $type) = (unpack "S n i S C", $link)[2, 4];
    return if $type == 3;  # PACKET_OTHERHOST: a switch sent it here, too, but it has another MAC address
    my $header = 4 * (15 & ord $packet);
    my ($protocol, $source_address, $target) = (ord(substr $packet, 9, 1), map { inet_ntoa(substr $packet, $_, 4) } 12, 16);
    my ($sport, $dport) = unpack "n n", substr $packet, $header, 4;
    if ($protocol == 17) {
        my ($sender, $receiver, $count, $kind) = unpack "n n n a", substr $packet, $header + 24;
        return unless defined $kind && substr($packet, $header + 16, 8) eq pack "H16", $token;
        if ($type == 4 && $sender == $me) {
            $left{$receiver}{$dport}{$count} = 1 if $kind eq "s";
            $from{$receiver}{$dport}{$source_address} = 1;
            ($interface, $hardware) = ($index, substr $link, 12, 6) unless defined $interface;
        } elsif ($type != 4 && $receiver == $me && $sender != $me) {
            $last = now();
            $came{$sender}{$dport}{$count} = 1 if $kind eq "s";
            $origin{$sender}{$dport}{$source_address} = 1;
            my $size = unpack "n", substr $packet, 2, 2;
            $size{$sender} = $size if $kind eq "m" && $size > ($size{$sender} || 0);
        }
        return;
    }
    my $flags = 63 & ord substr $packet, $header + 13, 1;
    if ($sport == $source && $type == 4) { $tcp{$number{$target} || 0}{$dport}{left}++ if $flags == 2 }
    elsif ($dport == $source && $type != 4) { $tcp{$number{$source_address} || 0}{$sport}{answer}++ }
    elsif ($sport == $source) { $syn{$number{$source_address} || 0}{$dport}{came}++ if $flags == 2 }
    elsif ($dport == $source) { $syn{$number{$target} || 0}{$sport}{answered}++ }
}

sub taken {
    my ($packet) = @_;
    my $header = 4 * (15 & ord $packet);
    my ($sport, $dport) = unpack "n n", substr $packet, $header, 4;
    if (17 == ord substr $packet, 9, 1) {
        my ($sender, $receiver, $count, $kind) = unpack "n n n a", substr $packet, $header + 24;
        $took{$sender}{$dport}{$count} = 1
            if defined $kind && $kind eq "s" && $receiver == $me && substr($packet, $header + 16, 8) eq pack "H16", $token;
    } elsif ($sport == $source && 2 == (63 & ord substr $packet, $header + 13, 1)) {
        $syn{$number{inet_ntoa(substr $packet, 12, 4)} || 0}{$dport}{took}++;
    }
}

sub of_arp {
    my ($packet) = @_;
    my ($operation, $mac, $address) = (unpack "n n C C n a6 a4", $packet)[4, 5, 6];
    return unless $operation == 2;
    $address = inet_ntoa($address);
    my $peer = $address eq $own ? 0 : $number{$address};
    $mac{$peer}{join ":", map { sprintf "%02x", $_ } unpack "C6", $mac} = 1 if defined $peer;
}

sub ask_who { # an ARP request for an address. For our own address it is a probe, without a sender address.
    my ($address) = @_;
    my $asker = $address eq $own ? "\0" x 4 : inet_aton($own);
    my $question = pack "n n C C n a6 a4 a6 a4", 1, 0x0800, 6, 4, 1, $hardware, $asker, "\0" x 6, inet_aton($address);
    send $arp, $question, 0, pack "S n i S C C a8", 17, 0x0806, $interface, 1, 0, 6, "\xff" x 6;
}

my %trying;
sub connect_all {
    for my $peer (@order) {
        for my $port (@{$peers{$peer}{tcp}}) {
            my $try = $tcp{$peer}{$port} ||= {};
            socket my $socket, PF_INET, SOCK_STREAM | 2048, 6 or next;  # SOCK_NONBLOCK
            setsockopt $socket, SOL_SOCKET, SO_REUSEADDR, pack "i", 1;
            bind $socket, sockaddr_in($source, INADDR_ANY);
            $try->{began} = now();
            if (connect $socket, sockaddr_in($port, inet_aton($peers{$peer}{address}))) { ended($socket, $try, 0) }
            elsif ($! == EINPROGRESS) { $trying{fileno $socket} = [$socket, $try] }
            else { ended($socket, $try, $! + 0) }
        }
    }
}

sub ended {
    my ($socket, $try, $error) = @_;
    $try->{seconds} = now() - $try->{began};
    local $! = $error;
    ($try->{state}, $try->{why}) = $error == 0 ? ("open", "") : $error == 111 ? ("refused", "$!") : ("error", "$!");
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack "i i", 1, 0;  # close with RST: no TIME_WAIT state on either host
    close $socket;
}

sub listen_until { # TIME STOP: with STOP, also until the next line of input, or its end
    my ($until, $stop) = @_;
    while (1) {
        my $wait = $until - now();
        $wait = 0 if $wait < 0;
        my ($in, $ready, $writable) = ("", "", "");
        vec($in, fileno $_, 1) = 1 for $wire, $arp, $udp_taken, $tcp_taken, $stop ? *STDIN : ();
        my $trial = "";
        vec($trial, $_, 1) = 1 for keys %trying;
        my $some = select $ready = $in, $writable = $trial, undef, $wait;
        while (defined(my $link = recv $wire, my $packet, 128, 64)) { of_wire($packet, $link) }
        while (defined recv $udp_taken, my $packet, 128, 64) { taken($packet) }
        while (defined recv $tcp_taken, my $packet, 128, 64) { taken($packet) }
        while (defined recv $arp, my $packet, 128, 64) { of_arp($packet) }
        for my $fd (keys %trying) {
            next unless vec $writable, $fd, 1;
            my ($socket, $try) = @{delete $trying{$fd}};
            ended($socket, $try, unpack "i", getsockopt $socket, SOL_SOCKET, SO_ERROR);
        }
        return if $wait == 0 || ($stop && $some > 0 && vec $ready, fileno STDIN, 1);
    }
}

sub complete { # whether every expected packet has arrived
    for my $peer (keys %sender) {
        next unless $peers{$peer};
        for my $port (@{$peers{$peer}{udp}}) {
            return if $peers{$peer}{counts}{$port} > keys %{$took{$peer}{$port} || {}};
        }
    }
    return 1;
}

connect_all();
my ($most) = sort { $b <=> $a } $ROUNDS, map { values %{$_->{counts}} } values %peers;
my $sending = now();
for my $round (1 .. $most) {
    last if $round > $ROUNDS && now() > $sending + $LONGEST;
    for my $peer (@order) {
        for my $port (@{$peers{$peer}{udp}}) {
            next if $round > $peers{$peer}{counts}{$port};
            datagram($peer, $port, "s", 0);
            next if $port != $data;
            for my $at (0 .. $#sizes) { # each size twice
                my $first = 1 + int($at * ($ROUNDS - 1) / @sizes);
                datagram($peer, $port, "m", $sizes[$at]) if $round == $first || $round == $first + 1;
            }
        }
    }
    listen_until(now() + $EVERY) unless $round % $AT_ONCE;
    if ($round == 2 && defined $interface) { ask_who($_) for $own, map { $peers{$_}{address} } @order }
}
listen_until(now() + 0.05) while %trying && now() < $began + $seconds;
print "ended\n";
listen_until(now() + $MOST, 1);
my $stopped = $last = now();
listen_until(now() + 0.05) until complete() || now() > $last + $SETTLE || now() > $stopped + $LATEST;

sub known_mtu { # what routers reported, or the MTU of the interface
    my ($peer) = @_;
    socket my $socket, PF_INET, SOCK_DGRAM, 17 or return;
    connect $socket, sockaddr_in($data, inet_aton($peers{$peer}{address})) or return;
    return unpack "i", getsockopt $socket, 0, 14;  # IP_MTU
}

my $after = counters();
sub tell_rule {
    my ($key, $packets) = @_;
    my ($tool, $table, undef, $rule) = split / /, $key // return, 4;
    print "rule $tool $table $packets ", unpack("H*", $rule), "\n";
}
sub sum { scalar keys %{$_[0] || {}} }
sub words { join ",", sort keys %{$_[0] || {}} }
for my $peer (@order) {
    for my $port (@{$peers{$peer}{udp}}) {
        my $tried = $tried{$peer}{$port} || 0;
        print join(" ", "sent", $peer, $port, $tried, $refused{$peer}{$port} // ()), "\n";
        print join(" ", "left", $peer, $port, sum($left{$peer}{$port}), words($from{$peer}{$port})), "\n";
        print join(" ", "came", $peer, $port, sum($came{$peer}{$port}), words($origin{$peer}{$port})), "\n";
        print join(" ", "took", $peer, $port, sum($took{$peer}{$port})), "\n";
    }
    print "size $peer $size{$peer}\n" if $size{$peer};
    my $mtu = known_mtu($peer);
    print "mtu $peer $mtu\n" if $mtu;
    for my $port (@{$peers{$peer}{tcp}}) {
        my $try = $tcp{$peer}{$port};
        my $state = $try->{state} || "silent";
        printf "tcp %s %s %s %.6f %d %d %s\n", $peer, $port, $state, $try->{seconds} || 0, $try->{left} || 0, $try->{answer} || 0, $try->{why} || "-";
    }
    for my $port (sort keys %{$syn{$peer} || {}}) {
        my $syn = $syn{$peer}{$port};
        print join(" ", "syn", $peer, $port, map { $syn->{$_} || 0 } qw(came took answered)), "\n";
    }
}
print join(" ", "mac", $_, sort keys %{$mac{$_}}), "\n" for sort keys %mac;
my $memory = getsockopt $udp_taken, 1, 55;  # SO_MEMINFO, since Linux 4.12; its last number: what did not fit into the buffer
print "missed ", (unpack "L9", $memory)[8], "\n" if defined $memory && length $memory >= 36;
for my $key (sort keys %$after) {
    my $rose = $after->{$key} - ($before->{$key} // $after->{$key});
    tell_rule($key, $rose) if $rose > 0;
}
my $later = drops();
for my $name (sort keys %$later) {
    my $rose = $later->{$name} - ($drops->{$name} // 0);
    print "dropped $name $rose\n" if $rose > 0;
}
tell_rule($_, 0) for (sort keys %uncounted)[0 .. 199];
printf "done %.3f\n", now() - $began;
