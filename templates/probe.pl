# A probe of the network proofs. It is the only process of a container, and uses modules of perl-base only.
#
# Arguments: RUN (hex), own number, seconds to wait for "go", then addresses within the network's subnet.
# Reads:  peer NUMBER NAME ALIAS ADDRESS[,ADDRESS-IN-IPV6] [PORT FACT,...]    another probe of this network, and the facts to prove
#         stranger NUMBER NAME ADDRESS RUN ITS-NUMBER   a probe of another network, which must be unreachable
#         outside NAME address|answer RESOLVER ...  a name that only external resolvers know, and the kind of the expected answer
#         beyond ADDRESS PORT           an external TCP port, which must be unreachable
#         wall ADDRESS PORT/tcp|udp ... a host's ports; no packet to them may leave this host, which leaks.pl watches
#         flow NUMBER ...               the peers to which to send data, and to hold a connection
#         watch NUMBER ...              the peers to which only to hold a connection
#         hold SECONDS                  hold these connections for at least so long, although all is proven
#         go SECONDS
#         enough                        the time is over now
#         again                         end with exit code 75
#         The end of the input ends the probe.
# Writes: ready ADDRESS MTU [ADDRESS-IN-IPV6]    then each as soon as it is known, with seconds since "go":
#         see NUMBER name|address|by_name|full|alias|six SECONDS    a fact about a peer is proven
#         met NUMBER name|address SECONDS   a stranger was reached
#         outside SERVER SECONDS ANSWER     the answer of the engine's server, or of a resolver, about the name outside
#         nameless SECONDS              addresses have answered for a while, but not a single name is known
#         rtt NUMBER SECONDS            the shortest of some round trips, to a peer for which no FACT was given
#         bulk NUMBER BYTES SECONDS     so much data has passed unchanged over the connection
#         and when all is proven, or time is over: lack NUMBER FACT REASON, largest NUMBER BYTES, heard NUMBER ...,
#         way ADDRESS:PORT ... (those "beyond" that were reached), tried NUMBER TIMES (strangers),
#         walls NUMBER (hosts whose ports were tried),
#         silent SERVER REASON, conf SETTING WORD ... (resolv.conf),
#         changed NUMBER BLOCKS BYTE (blocks of the data have changed on the way, the first at this byte; "message": what frames them),
#         stalled NUMBER BYTES SECONDS (so much data has passed, and then nothing),
#         done SECONDS CPU-SECONDS      after which it continues to answer other probes, and to hold its connections
#         gap NUMBER SECONDS SINCE      before "done" and once more at the end: the longest time without an answer on a connection
#         quiet NUMBER SECONDS SINCE    the same: for how long no packet of a peer has arrived, if that was long
#         cut NUMBER TIMES SINCE REASON the same: how often a connection has ended, and why it did so first
#         checksums container NUMBER    the same: how many packets with a wrong checksum have arrived
use strict;
use warnings;
use Errno qw(EAGAIN EINPROGRESS EMSGSIZE);
use Socket qw(:DEFAULT IPPROTO_IP IPPROTO_TCP TCP_NODELAY MSG_NOSIGNAL inet_ntop inet_pton pack_sockaddr_in6 unpack_sockaddr_in6);

my ($run, $me, $patience, @inside) = @ARGV;
my ($PORT, $SMALL, $HEADERS) = (7777, 64, 28);  # arbitrary; bytes of payload; bytes of the IPv4 and UDP headers
my ($FIRST, $GROWTH, $SLOWEST) = (0.05, 1.5, 1);  # seconds between tries
# When a packet for an unknown peer arrives, an engine in kv mode queries for the peer, and caches the answer for ever. So first
# wait for one and a half rounds of gossip, which delivers the same answer, and lets it expire.
my $GOSSIP = 0.3;
my ($GRACE, $FLUSH) = (15, 0.05);  # seconds to live after the deadline; seconds to collect facts for one write
my ($ENOUGH, $BETWEEN) = (3, 0.09);  # tries to reach a stranger; seconds between them, and after the last one
my ($FORWARDS, $DIRECT) = (4.5, 2);  # seconds for each resolver that the engine's server may try; for a direct query
my @FACTS = qw(name address by_name full alias);  # the default facts; there is also six: address, over IPv6
my ($NAMELESS, $FOR_EACH) = (2, 0.3);  # seconds after which knowing no name is suspicious; additional seconds per peer
my ($PUZZLED, $ROUND, $RESEND, $STEPS) = (3, 0.4, 0.13, 16);  # the sweep: see sweep()
# Round trips: how many, the seconds between two, and the seconds to wait for a first answer. A busy host can only delay a packet,
# so the shortest round trip is closest to the network's own latency.
my ($SAMPLES, $APART, $LOST) = (5, 0.01, 2);
my ($MTU_DISCOVER, $DO, $IP_MTU) = (10, 2, 14);  # linux/in.h: IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU
my $NONBLOCK = 2048;  # socket(2): SOCK_NONBLOCK
# Connections: the TCP port; seconds between two messages, before another attempt, and without an answer after which data have
# stalled, also to a host that may be busy; for how many peers at once a probe answers; the connections from which on the time
# between two messages grows with their number.
my ($FLOWS, $BEAT, $REDIAL, $STALL, $BUSY, $CALLERS, $FEW) = (7778, 0.15, 0.5, 5, 15, 64, 5);
# Data: bytes of a block, which is also the longest that one message can announce; how many blocks; how many of them are sent
# before the first answer; seconds after which no more are sent, since the path is slow.
my ($BLOCK, $BLOCKS, $AHEAD, $SLOW) = (1 << 14, 64, 2, 1);
my ($NOTABLE, $LATE) = (1, 0.2);  # seconds without a packet that are reported; seconds by which a loop is late if the host is busy

# Process 1 of a container gets only those signals for which it has a handler.
$SIG{$_} = sub { exit(0) } for qw(TERM INT HUP PIPE ALRM);
alarm $patience + $GRACE;  # ends a write that blocks because nobody reads the output any more

{% include "clock.pl" %}
my $began = my $flushed = now();
my ($out, %peer, %stranger, %outside, @beyond, $until, $finished, $nameless, %heard, %flow, %caller, %arrived) = ("");
my ($paused, $hold) = (0, 0);  # seconds for which this process did not run although it could; seconds to hold connections
sub say_line { $out .= join(" ", @_) . "\n" }
sub flush_lines {
    $flushed = now();
    while (length $out) { substr $out, 0, syswrite(STDOUT, $out) // exit(1), "" }
}
sub give_up { say_line("error", @_); flush_lines(); exit(3) }
sub since { sprintf "%.4f", now() - $began }

# --- our own address -----------------------------------------------------------------------------------------------

# The container has a second interface, to its own host. A socket that is connected to an address of the subnet has the
# address and the MTU of the right interface; nothing is sent. Our own address would lead to the loopback interface.
sub whereabouts {
    for my $inside (@inside) {
        socket my $socket, PF_INET, SOCK_DGRAM, 0 or give_up("no socket: $!");
        connect $socket, sockaddr_in($PORT, inet_aton($inside)) or next;
        my $address = inet_ntoa((sockaddr_in(getsockname $socket))[1]);
        return ($address, unpack "i", getsockopt $socket, IPPROTO_IP, $IP_MTU) if $address ne $inside;
    }
    give_up("this container has no route to the network's subnet");
}

my ($address, $mtu) = whereabouts();
my $full = $mtu - $HEADERS;
socket my $echo, PF_INET, SOCK_DGRAM, 0 or give_up("no socket: $!");
setsockopt $echo, IPPROTO_IP, $MTU_DISCOVER, pack("i", $DO) or give_up("can't set DF: $!");
setsockopt $echo, SOL_SOCKET, SO_RCVBUF, pack("i", 1 << 20);
bind $echo, sockaddr_in($PORT, inet_aton($address)) or give_up("can't listen on $address: $!");
# The address on the network, if it has IPv6: the one of global scope (proc(5)). The interface to the host has none.
my ($address6) = do {
    my $there = open my $file, "<", "/proc/net/if_inet6";
    map { /^(\w{32}) \w+ \w+ 00 / ? inet_ntop(PF_INET6, pack "H*", $1) : () } $there ? <$file> : ();
};
socket my $echo6, PF_INET6, SOCK_DGRAM, 0 or undef $address6;
my @echoes = ($echo, $address6 ? $echo6 : ());
!$address6 or bind $echo6, pack_sockaddr_in6($PORT, inet_pton(PF_INET6, $address6)) or give_up("can't listen on $address6: $!");
socket my $listener, PF_INET, SOCK_STREAM | $NONBLOCK, 0 or give_up("no socket: $!");
setsockopt $listener, SOL_SOCKET, SO_REUSEADDR, 1;
bind $listener, pack_sockaddr_in($FLOWS, inet_aton($address)) and listen $listener, $CALLERS or give_up("can't listen on $address: $!");
open my $random, "<:raw", "/dev/urandom" or give_up("no randomness: $!");

# Queries to the engine's server prove nothing if the container's programs use another server.
my @conf = do { open my $file, "<", "/etc/resolv.conf"; map { [split] } <$file> };
my @servers = map { ($_->[0] // "") eq "nameserver" ? $_->[1] : () } @conf;
# The engine lists resolvers with IPv6 addresses in the containers' resolv.conf, after its own server.
my $other_server = "@servers" =~ /^127\.0\.0\.11(?: \S*:\S*)*$/ ? "" : "resolv.conf names " . (join(",", @servers) || "no server");

# --- datagrams: KIND RUN FROM TO NONCE, padded; KIND is ask or answer ---------------------------------------------

# A nonce belongs to one peer and one fact, so a late answer counts, but a foreign or forged one does not.
sub nonce { sysread $random, my $bytes, 8; return unpack "H*", $bytes }

sub datagram {
    my ($kind, $to, $nonce, $size) = @_;
    my $head = "$kind $run $me $to $nonce ";
    return $head . "x" x ($size - length $head);
}

sub ask {
    my ($peer, $fact, $where, $size) = @_;
    my ($socket, $to) = $fact eq "six"
        ? ($echo6, pack_sockaddr_in6($peer->{port}, inet_pton(PF_INET6, $where)))
        : ($echo, pack_sockaddr_in($peer->{port}, inet_aton($where)));
    my $sent = send $socket, datagram("ask", $peer->{id}, $peer->{nonce}{$fact}, $size), 0, $to;
    $peer->{why}{$fact} = $sent ? "no answer" : $!{EMSGSIZE} ? "too large for the path" : lc "$!";
    return $sent;
}

sub take_datagrams {
    my ($socket) = @_;
    while (defined(my $from = recv $socket, my $data, 65535, MSG_DONTWAIT)) {
        my ($kind, $of_run, $by, $to, $nonce) = split / /, $data, 6;
        next unless defined $nonce && $of_run eq $run && $to eq $me;
        $heard{$by} = 1 if $by =~ /^\d+$/;    # strangers send a word instead of a number
        arrived($by) if $kind eq "ask";
        if ($kind eq "ask") {
            send $socket, datagram("answer", $by, $nonce, length $data), 0, $from;
        } elsif ($kind eq "answer" && $peer{$by}) {
            $peer{$by}{echoed} = now();
            my $where = $socket == $echo ? inet_ntoa((sockaddr_in($from))[1]) : inet_ntop(PF_INET6, (unpack_sockaddr_in6($from))[1]);
            answered($peer{$by}, $nonce, length $data, $where);
        }
    }
}

sub answered {
    my ($peer, $nonce, $size, $from) = @_;
    return sampled($peer, $nonce, $from) if $peer->{sent}{$nonce};
    my %fact = reverse %{$peer->{nonce}};
    my $fact = $fact{$nonce} // return;
    return if $from ne $peer->{$fact eq "six" ? "six" : "address"};
    if ($fact eq "sweep") {
        $peer->{passed} = $size if $size > $peer->{passed};
    } elsif ($size == ($fact eq "full" ? $full : $SMALL)) {
        see($peer, $fact);
    }
}

# --- round trips, after a peer is proven. Each has its own nonce, so a late answer never counts for a later packet. --------

sub sample {
    my ($peer) = @_;
    my $nonce = nonce();
    $peer->{sampled} = $peer->{sent}{$nonce} = now();
    $peer->{samples}++;
    send $echo, datagram("ask", $peer->{id}, $nonce, $SMALL), 0, sockaddr_in($peer->{port}, inet_aton($peer->{address}));
}

sub sampled {
    my ($peer, $nonce, $from) = @_;
    return if $from ne $peer->{address};
    my $took = now() - delete $peer->{sent}{$nonce};
    $peer->{rtt} = $took if !defined $peer->{rtt} || $took < $peer->{rtt};
}

# Returns when to continue; nothing if the peer's round trips are done.
sub time_peer {
    my ($peer) = @_;
    return if $peer->{timed};
    my $next = ($peer->{sampled} // 0) + $APART;
    if ($peer->{samples} < $SAMPLES) {
        return $next if now() < $next;
        sample($peer);
        return $peer->{sampled} + $APART;
    }
    my $last = $peer->{sampled} + (defined $peer->{rtt} ? 2 * $peer->{rtt} + $APART : $LOST);
    return $last if %{$peer->{sent}} && now() < $last;
    $peer->{timed} = 1;
    say_line("rtt", $peer->{id}, sprintf "%.6f", $peer->{rtt}) if defined $peer->{rtt};
    return;
}

sub see {
    my ($peer, $fact) = @_;
    return if $peer->{seen}{$fact};
    $peer->{seen}{$fact} = now();
    say_line("see", $peer->{id}, $fact, since());
}

# --- names --------------------------------------------------------------------------------------------------------

sub question { my ($name) = @_; return join("", map { pack "C/a", $_ } split /\./, $name) . "\0" . pack "nn", 1, 1 }

# DNS queries by their ID: the question, and the function that handles the answer.
my ($IS_ALIAS, $IS_STRANGER, $IS_OUTSIDE) = (0x4000, 0x8000, 0xc000);
my %asked;
sub send_question {
    my ($socket, $id, $name, $take) = @_;
    $asked{$id} = [question($name), $take];
    return send $socket, pack("n6", $id, 0x0100, 1, 0, 0, 0) . $asked{$id}[0], 0;
}

sub to_server {
    my ($server) = @_;
    socket my $socket, PF_INET, SOCK_DGRAM, 0 or give_up("no socket: $!");
    return $socket if connect $socket, sockaddr_in(53, inet_aton($server));
    return;
}

# A new socket every second, as a program has one for each lookup. A socket from before the engine set up its address
# translation would never use it.
my ($dns, $dns_since) = (undef, 0);
sub dns_socket {
    return if now() < $dns_since + 1;
    $dns_since = now();
    $dns = to_server("127.0.0.11") or give_up("no way to 127.0.0.11: $!");
}

sub resolve {
    my ($peer) = @_;
    dns_socket();
    for my $kind (grep { !$peer->{seen}{$_} || $_ eq "name" } qw(name alias)) {
        my $id = $peer->{id} + ($kind eq "alias" ? $IS_ALIAS : 0);
        my $sent = send_question($dns, $id, $peer->{$kind}, sub { resolved($peer, $kind, @_) });
        $peer->{why}{$kind} ||= "127.0.0.11 does not answer";
        $peer->{why}{$kind} = lc "$!" unless $sent;
    }
}

sub take_names {
    my ($socket) = @_;
    $! = 0;
    while (defined recv $socket, my $data, 4096, MSG_DONTWAIT) {
        next if length $data < 12;
        my ($id, $flags, undef, $answers) = unpack "n4", $data;
        my ($question, $take) = @{$asked{$id} || next};
        next if !($flags & 0x8000) || lc substr($data, 12, length $question) ne lc $question;
        $take->($flags & 15, addresses($data, 12 + length $question, $answers));
    }
    return !$!{EAGAIN} && lc "$!";
}

# A name ends with an empty label, or with a pointer to the rest of it.
sub after_name {
    my ($data, $at) = @_;
    while ($at < length $data) {
        my $label = ord substr $data, $at, 1;
        return $at + ($label ? 2 : 1) if !$label || $label >= 192;
        $at += 1 + $label;
    }
    return $at;
}

sub addresses {
    my ($data, $at, $answers) = @_;
    my @found;
    while ($answers-- > 0 && $at < length $data) {
        $at = after_name($data, $at);
        last if $at + 10 > length $data;
        my ($type, undef, undef, $length) = unpack "nnNn", substr $data, $at, 10;
        push @found, inet_ntoa(substr $data, $at + 10, 4) if $type == 1 && $length == 4;
        $at += 10 + $length;
    }
    return @found;
}

sub dns_word {
    my ($code, @found) = @_;
    return join ",", @found if @found;
    return {0 => "no address", 2 => "SERVFAIL", 3 => "NXDOMAIN", 5 => "REFUSED"}->{$code} // "DNS code $code";
}

sub resolved {
    my ($peer, $kind, $code, @found) = @_;
    $peer->{found} = join ",", @found if $kind eq "name";
    if (!@found) {
        $peer->{why}{$kind} = dns_word($code);
    } elsif ($other_server) {
        $peer->{why}{$kind} = $other_server;
    } elsif ($kind eq "alias" && "@found" ne $peer->{address}) {
        $peer->{why}{$kind} = "DNS says " . join ",", @found;
    } else {
        see($peer, $kind);
        try_found($peer) if $kind eq "name";
    }
}

sub try_found {
    my ($peer) = @_;
    return 1 if $peer->{seen}{by_name} || now() < $began + $GOSSIP;
    return ask($peer, "by_name", $peer->{address}, $SMALL) if $peer->{found} eq $peer->{address};
    $peer->{why}{by_name} = "DNS says $peer->{found}";
    return 0;
}

# --- try until all is proven --------------------------------------------------------------------------------------

sub try_peer {
    my ($peer) = @_;
    $peer->{due} = now() + $peer->{pause};
    $peer->{due} = $began + $GOSSIP if now() < $began + $GOSSIP && $peer->{due} > $began + $GOSSIP;
    $peer->{pause} = $peer->{pause} * $GROWTH < $SLOWEST ? $peer->{pause} * $GROWTH : $SLOWEST;
    # DNS may still have the address of an endpoint that is gone, so ask again.
    resolve($peer) if $peer->{wants}{name} && !($peer->{seen}{name} && $peer->{seen}{alias} && try_found($peer));
    return if now() < $began + $GOSSIP;
    my %missing = map { $_ => 1 } missing($peer);
    ask($peer, "address", $peer->{address}, $SMALL) if $missing{address};
    ask($peer, "full", $peer->{address}, $full) if $missing{full};
    return unless $missing{six};
    if ($address6 && $peer->{six}) { ask($peer, "six", $peer->{six}, $SMALL) }
    else { $peer->{why}{six} = ($address6 ? "the other" : "this") . " container has no address in IPv6" }
}

# If small datagrams pass and full ones don't for some seconds, search the largest that passes. Each round sends some sizes
# between the largest that passed and the smallest that did not, and repeats them in case of loss.
sub sweep {
    my ($peer) = @_;
    my $small = $peer->{seen}{address};
    return if $peer->{largest} || $peer->{seen}{full} || !$peer->{wants}{full} || !$small || now() < $small + $PUZZLED;
    $peer->{passed} ||= $SMALL;
    $peer->{failed} ||= $full;
    if (now() >= ($peer->{round_ends} // 0)) {
        ($peer->{failed}) = grep { $_ > $peer->{passed} } @{$peer->{sizes} || []}, $peer->{failed};
        my $step = ($peer->{failed} - $peer->{passed}) / ($STEPS + 1);
        my %size = map { int($peer->{passed} + $_ * ($step > 1 ? $step : 1)) => 1 } 1 .. $STEPS;
        $peer->{sizes} = [sort { $a <=> $b } grep { $_ < $peer->{failed} } keys %size];
        return $peer->{largest} = $peer->{passed} + $HEADERS unless @{$peer->{sizes}};
        @$peer{"round_ends", "resend"} = (now() + $ROUND, 0);
    }
    return if now() < $peer->{resend};
    $peer->{resend} = now() + $RESEND;
    ask($peer, "sweep", $peer->{address}, $_) for grep { $_ > $peer->{passed} } @{$peer->{sizes}};
}

sub missing { my ($peer) = @_; return grep { $peer->{wants}{$_} && !$peer->{seen}{$_} } @FACTS, "six" }
sub proven { my ($peer) = @_; return !missing($peer) }
# Waiting does not help if only full packets don't pass.
sub over { my ($peer) = @_; return proven($peer) || $peer->{largest} && 1 == missing($peer) }

# --- strangers: probes of other networks, whose names and addresses must be unreachable -----------------------------

# An unbound socket, like that of an ordinary program: with our own source address, nothing outside would ever answer.
socket my $abroad, PF_INET, SOCK_DGRAM, 0 or give_up("no socket: $!");

sub try_stranger {
    my ($stranger) = @_;
    return $stranger->{due} if now() < $stranger->{due};
    # There is one more try after the last one had its time; then it was tried often enough.
    $stranger->{due} = now() + (++$stranger->{tried} <= $ENOUGH ? $BETWEEN : $SLOWEST);
    dns_socket();
    send_question($dns, $IS_STRANGER + $stranger->{id}, $stranger->{name}, sub {
        my ($code, @found) = @_;
        met($stranger, "name") if grep { $_ eq $stranger->{address} } @found;
    });
    my $data = "ask $stranger->{run} stranger $stranger->{number} $stranger->{nonce} ";
    send $abroad, $data . "x" x ($SMALL - length $data), 0, sockaddr_in($PORT, inet_aton($stranger->{address}));
    return $stranger->{due};
}

sub take_strangers {
    while (defined recv $abroad, my $data, 65535, MSG_DONTWAIT) {
        my ($kind, undef, undef, undef, $nonce) = split / /, $data, 6;
        met($_, "address") for grep { $kind eq "answer" && $_->{nonce} eq ($nonce // "") } values %stranger;
    }
}

sub met {
    my ($stranger, $fact) = @_;
    say_line("met", $stranger->{id}, $fact, since()) unless $stranger->{met}{$fact}++;
}

sub tried { my ($stranger) = @_; return $stranger->{tried} > $ENOUGH }

# --- a name that only external resolvers know: queries to the engine's server, which forwards, and to each resolver ----

sub try_outside {
    my ($server) = @_;
    my $next = $server->{due} < $server->{until} ? $server->{due} : $server->{until};
    return $next if now() < $next;
    $server->{due} = now() + $SLOWEST;
    my $socket = to_server($server->{address});
    my $sent = $socket && send_question($socket, $IS_OUTSIDE + $server->{id}, $server->{name}, sub {
        my ($code, @found) = @_;
        return if $server->{answered};
        $server->{why} = dns_word($code, @found);
        $server->{answered} = @found || $server->{kind} eq "answer" && ($code == 0 || $code == 3);
        say_line("outside", $server->{address}, since(), $server->{why}) if $server->{answered};
    });
    # All sockets stay open, since an answer may take long: the engine waits four seconds for each resolver.
    if ($sent) { push @{$server->{sockets}}, $socket } else { $server->{why} = lc "$!" }
    return $server->{due};
}

sub take_outside {
    my ($server, $socket) = @_;
    my $error = take_names($socket) or return;
    $server->{why} = $error;
    @{$server->{sockets}} = grep { $_ != $socket } @{$server->{sockets}};
}

sub outside_over { my ($server) = @_; return $server->{answered} || now() >= $server->{until} }

# --- beyond an internal network: only an established connection counts, since the host's own firewall may refuse one. ---

sub try_beyond {
    my ($it) = @_;
    if (!$it->{until}) {
        $it->{until} = now() + $SLOWEST;
        socket $it->{socket}, PF_INET, SOCK_STREAM | $NONBLOCK, 0 or give_up("no socket: $!");
        connect($it->{socket}, $it->{to}) || $!{EINPROGRESS} or $it->{until} = $began;
    }
    $it->{way} ||= getpeername $it->{socket};
    return now() + $BETWEEN;
}

sub beyond_over { my ($it) = @_; return $it->{way} || $it->{until} && now() >= $it->{until} }

# --- the cluster's ports of other hosts: one packet to each is enough, since leaks.pl sees it as soon as it leaves ---------

my $walls = 0;
sub try_wall {
    my ($address, @ports) = @_;
    $walls++;
    for (@ports) {
        my ($port, $kind) = split m{/};
        my $to = pack_sockaddr_in($port, inet_aton($address));
        if ($kind eq "udp") { send $abroad, "provisioner-wall $run", 0, $to; next }
        socket my $socket, PF_INET, SOCK_STREAM | $NONBLOCK, 0 or give_up("no socket: $!");
        setsockopt $socket, SOL_SOCKET, SO_REUSEADDR, 1;
        bind $socket, pack_sockaddr_in($PORT, INADDR_ANY) or give_up("can't send from port $PORT: $!");
        connect $socket, $to;
    }
}

# --- connections: one to each peer that the controller chose, from the first answer of its address to the end -----------------

# Messages are the same as datagrams, of $SMALL bytes each. After its nonce, an "ask" has the number of bytes of $block that
# follow. The other end knows these bytes and compares them all, so it needs no checksum. After its nonce, an "answer" has
# the first byte that has changed, or "-", and the seconds for which its probe did not run. These are no gap of the path.
my $block = substr pack("N*", map { $_ * 2654435761 & 0xffffffff } 1 .. 1021) x 17, 0, $BLOCK;  # repeats after 4,084 bytes
sub message { my ($kind, $to, @words) = @_; return datagram($kind, $to, "@words", $SMALL) }

# Sends what waits. Returns whether the connection is still there.
sub push_out {
    my ($end) = @_;
    while (length $end->{out}) {
        my $sent = send $end->{socket}, $end->{out}, MSG_DONTWAIT | MSG_NOSIGNAL;
        if (!defined $sent) { $end->{why} = lc "$!"; return $!{EAGAIN} }
        substr $end->{out}, 0, $sent, "";
    }
    return 1;
}

# Reads what has arrived. Returns whether the connection is still there.
sub pull_in {
    my ($end) = @_;
    if (!defined recv $end->{socket}, my $data, 8 * $BLOCK, MSG_DONTWAIT) { $end->{why} = lc "$!"; return $!{EAGAIN} }
    elsif (!length $data) { $end->{why} = "closed by the other end"; return 0 }
    else { $end->{in} .= $data; return 1 }
}

sub dial {
    my ($flow) = @_;
    @$flow{qw(in out asked posted)} = ("", "", [], $flow->{passed});
    socket $flow->{socket}, PF_INET, SOCK_STREAM | $NONBLOCK, 0 or give_up("no socket: $!");
    setsockopt $flow->{socket}, IPPROTO_TCP, TCP_NODELAY, 1;
    @$flow{qw(last mine)} = (now(), $paused) unless $flow->{last};
    connect $flow->{socket}, pack_sockaddr_in($FLOWS, inet_aton($flow->{peer}{address}));  # push_out sees the result
}

sub post {
    my ($flow, $size) = @_;
    my $nonce = nonce();
    push @{$flow->{asked}}, [$nonce, $size];
    $flow->{out} .= message("ask", $flow->{peer}{id}, $nonce, $size) . substr $block, 0, $size;
    $flow->{posted} += $size;
}

# Returns when to continue; nothing if there is nothing to do.
sub tend {
    my ($flow) = @_;
    my $peer = $flow->{peer};
    return if $flow->{ended} || !$peer->{seen}{address};
    if (now() >= $flow->{due}) {
        dial($flow) unless $flow->{socket};
        $flow->{due} = now() + $BEAT * (keys(%flow) > $FEW ? keys(%flow) / $FEW : 1);
        post($flow, 0) if @{$flow->{asked}} <= $AHEAD;
        # Datagrams are never repeated, so they show the other end in which direction packets are lost.
        send $echo, datagram("ask", $peer->{id}, nonce(), $SMALL), 0, sockaddr_in($peer->{port}, inet_aton($peer->{address}));
    }
    return $flow->{due} unless $flow->{socket};
    transfer($flow);
    push_out($flow) or cut($flow);
    return $flow->{due};
}

# Sends data to one peer at a time, when no round trips are measured that they would delay, and the connection is known to work.
sub transfer {
    my ($flow) = @_;
    return if $flow->{bulk} || $finished || !proven($flow->{peer});
    if (!$flow->{began}) {
        return if @{$flow->{asked}} || grep { proven($_) && !$_->{timed} } values %peer;
        return if grep { $_->{began} && !flow_over($_) } values %flow;
        $flow->{began} = now();
    }
    my $more = now() < $flow->{began} + $SLOW ? $BLOCK * $BLOCKS : 0;
    # Each answer lets two more blocks go, like a new connection of TCP. So little is on its way if the path is slow.
    post($flow, $BLOCK) while $flow->{posted} < $more && $flow->{posted} < $BLOCK * $AHEAD + 2 * $flow->{passed};
    if ($flow->{passed} && $flow->{passed} == $flow->{posted} && $flow->{posted} >= $more) {
        $flow->{bulk} = now() - $flow->{began};
        say_line("bulk", $flow->{peer}{id}, $flow->{passed}, sprintf "%.6f", $flow->{bulk}) unless $flow->{changed};
    }
}

sub take_answers {
    my ($flow) = @_;
    pull_in($flow) or return cut($flow);
    while ($flow->{socket} && length $flow->{in} >= $SMALL) {
        my $said = substr $flow->{in}, 0, $SMALL, "";
        my ($nonce, $size) = @{shift @{$flow->{asked}} || ["", 0]};
        my ($changed, $rested) = $said =~ /^answer \Q$run $flow->{peer}{id} $me $nonce\E (-|\d+) (\d+\.\d+) /;
        return garbled($flow) unless $nonce && defined $rested;
        alive($flow, $rested);
        $flow->{at} = $flow->{passed} + $changed if $changed ne "-" && !$flow->{changed}++;
        $flow->{passed} += $size;
    }
}

# A message is not the expected one: it has changed on the way, here or there.
sub garbled {
    my ($flow) = @_;
    @$flow{qw(garbled why)} = (1, "an unexpected message");
    $flow->{changed}++;
    $flow->{at} //= "message";  # or the byte of the data that changed first
    cut($flow);
}

sub gap {
    my ($flow, $rested) = @_;
    return now() - $flow->{last} - ($paused - $flow->{mine}) - ($rested > $flow->{theirs} ? $rested - $flow->{theirs} : 0);
}

sub longest {
    my ($flow, $gap) = @_;
    @$flow{qw(gap gap_began)} = ($gap, $flow->{last}) if $gap > ($flow->{gap} // 0);
}

sub alive {
    my ($flow, $rested) = @_;
    longest($flow, gap($flow, $rested));
    @$flow{qw(last mine theirs)} = (now(), $paused, $rested);
}

sub cut {
    my ($flow) = @_;
    delete $flow->{socket};
    $flow->{out} = "";
    return $flow->{ended} = 1 if $finished;  # the other probe has ended
    @$flow{qw(cut reason)} = (now(), $flow->{why}) unless $flow->{cuts}++;
    $flow->{due} = now() + $REDIAL;
}

# Data have stalled if the other probe runs, since it answers datagrams. If it does not, it may be busy for a while.
sub stalled {
    my ($flow) = @_;
    my $gap = $flow->{last} ? gap($flow, $flow->{theirs}) : 0;
    return $gap >= $STALL && (now() < $flow->{peer}{echoed} + $SLOWEST || $gap >= $BUSY);
}
sub flow_over { my ($flow) = @_; return !proven($flow->{peer}) || $flow->{bulk} || $flow->{garbled} || stalled($flow) }

# --- the other end of such connections ---------------------------------------------------------------------------------

sub welcome {
    accept my $socket, $listener or return;
    # Only probes of this run introduce themselves, so a foreign connection makes room first.
    my ($idle) = sort { $a->{since} <=> $b->{since} } grep { !defined $_->{from} } values %caller;
    if (keys %caller >= $CALLERS) { $idle ? hang_up($idle) : return }
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
    $caller{fileno $socket} = {socket => $socket, in => "", out => "", left => 0, since => now()};
}

sub hang_up { my ($caller) = @_; delete $caller{fileno $caller->{socket}} }

sub hear {
    my ($caller) = @_;
    pull_in($caller) or return hang_up($caller);
    while (length $caller->{in} >= ($caller->{left} ? 1 : $SMALL)) {
        if ($caller->{left}) { compare($caller) }
        elsif (!introduced($caller)) {
            $caller->{out} .= message("answer", $caller->{from}, "-") if defined $caller->{from};
            push_out($caller);
            return hang_up($caller);
        }
        next if $caller->{left};
        $caller->{out} .= message("answer", @$caller{qw(from nonce)}, $caller->{changed} // "-", sprintf "%.3f", $paused);
    }
    hang_up($caller) if length $caller->{out} > $BLOCK || !push_out($caller);
}

sub introduced {
    my ($caller) = @_;
    my $said = substr $caller->{in}, 0, $SMALL, "";
    my ($from, $nonce, $size) = $said =~ /^ask $run (\d{1,6}) $me ([0-9a-f]{16}) (\d{1,5}) / or return;
    return if $size > $BLOCK || ($caller->{from} // $from) != $from;
    @$caller{qw(from nonce size left changed)} = ($from, $nonce, $size, $size, undef);
    return 1;
}

sub compare {
    my ($caller) = @_;
    my $part = substr $caller->{in}, 0, $caller->{left}, "";
    my $at = $caller->{size} - $caller->{left};
    $caller->{changed} //= $at + $-[0] if ($part ^ substr $block, $at, length $part) =~ /[^\0]/;
    $caller->{left} -= length $part;
}

# Notes that a packet of a peer has arrived. Only a peer that holds a connection sends often enough to miss one.
sub arrived {
    my ($by) = @_;
    my $it = $arrived{$by} ||= {gap => 0};
    silence($by);
    @$it{qw(last mine)} = (now(), $paused);
}

sub silence {
    my ($by) = @_;
    my $it = $arrived{$by};
    return unless $it->{last} && grep { ($_->{from} // "") eq $by } values %caller;
    my $gap = now() - $it->{last} - ($paused - $it->{mine});
    @$it{qw(gap began)} = ($gap, $it->{last}) if $gap > $it->{gap};
}

sub say_held {
    my $wrong = wrong_checksums();
    say_line("checksums container $wrong") if $wrong;
    for my $flow (grep { $_->{last} } values %flow) {
        longest($flow, gap($flow, $flow->{theirs})) if !$flow->{ended} && @{$flow->{asked}};
        say_line("gap", $flow->{peer}{id}, sprintf "%.3f %.3f", $flow->{gap}, $flow->{gap_began} - $began) if $flow->{gap};
        say_line("cut", $flow->{peer}{id}, $flow->{cuts}, sprintf("%.3f", $flow->{cut} - $began), $flow->{reason}) if $flow->{cuts};
    }
    for my $by (grep { /^\d+$/ } keys %arrived) {
        silence($by);
        my $it = $arrived{$by};
        say_line("quiet", $by, sprintf "%.3f %.3f", $it->{gap}, $it->{began} - $began) if $it->{gap} > $NOTABLE && $it->{began} > $began;
    }
}

# proc(5), net/snmp: a line of names, then one of values, for each protocol.
sub wrong_checksums {
    open my $file, "<", "/proc/net/snmp" or return 0;
    my %of;
    while (my ($protocol, @words) = split " ", <$file> // "") {
        if ($of{$protocol}) { @{$of{$protocol}}{@{$of{$protocol}{names}}} = @words } else { $of{$protocol} = {names => \@words} }
    }
    return ($of{"Udp:"}{InCsumErrors} || 0) + ($of{"Tcp:"}{InCsumErrors} || 0);
}

sub say_flows {
    for my $flow (grep { $_->{last} && proven($_->{peer}) } values %flow) {
        my $id = $flow->{peer}{id};
        if ($flow->{changed}) { say_line("changed", $id, @$flow{qw(changed at)}) }
        elsif (!$flow->{bulk} && stalled($flow)) { say_line("stalled", $id, $flow->{passed}, sprintf "%.3f", gap($flow, $flow->{theirs})) }
    }
    say_held();
}

sub finish {
    $finished = 1;
    say_flows();
    for my $peer (values %peer) {
        next if proven($peer);
        say_line("lack", $peer->{id}, $_, $peer->{why}{$_} // "not tried") for missing($peer);
        say_line("largest", $peer->{id}, $peer->{largest}) if $peer->{largest} && !$peer->{seen}{full};
    }
    say_line("way", map { $_->{way} ? $_->{name} : () } @beyond) if @beyond;
    say_line("walls", $walls) if $walls;
    say_line("tried", $_->{id}, $_->{tried}) for values %stranger;
    say_line("silent", $_->{address}, $_->{why}) for grep { !$_->{answered} } values %outside;
    if (%outside) { say_line("conf", @$_) for grep { ($_->[0] // "") =~ /^(?:search|options)$/ } @conf }
    my ($user, $system) = times;
    say_line("heard", sort { $a <=> $b } keys %heard);
    say_line("done", since(), sprintf "%.2f", $user + $system);
    flush_lines();
}

# --- the loop -----------------------------------------------------------------------------------------------------

sub order {
    my ($word, @words) = split " ", shift;
    if ($word eq "peer") {
        my ($id, $name, $alias, $at, $port, $facts) = @words;
        my %wants = map { $_ => 1 } $facts ? split(/,/, $facts) : @FACTS;
        my %nonce = map { $_ => nonce() } qw(address by_name full six sweep);
        my ($four, $six) = split /,/, $at;
        $peer{$id} = {id => $id, name => $name, alias => $alias, address => $four, six => $six // "", port => $port // $PORT, wants => \%wants,
            nonce => \%nonce, pause => $FIRST, due => 0, echoed => 0, samples => 0, sent => {}, timed => $facts ? 1 : 0};
    } elsif ($word eq "stranger") {
        my ($id, $name, $at, $of, $number) = @words;
        $stranger{$id} = {id => $id, name => $name, address => $at, run => $of, number => $number, nonce => nonce(), due => 0, tried => 0};
    } elsif ($word eq "outside") {
        my ($name, $kind, @resolvers) = @words;
        my $id = 0;
        $outside{$_} = {id => $id++, address => $_, name => $name, kind => $kind, due => 0, why => "no answer", sockets => []}
            for "127.0.0.11", @resolvers;
    } elsif ($word eq "beyond") {
        push @beyond, {name => join(":", @words), to => pack_sockaddr_in($words[1], inet_aton($words[0]))};
    } elsif ($word eq "wall") {
        try_wall(@words);
    } elsif ($word eq "flow" || $word eq "watch") {
        # To those that are only watched, all data have passed.
        $flow{$_} = {peer => $peer{$_}, due => 0, passed => 0, theirs => 0, asked => [], out => "", bulk => $word eq "watch"}
            for grep { $peer{$_} } @words;
    } elsif ($word eq "hold") {
        $hold = $words[0];
    } elsif ($word eq "enough") {
        $until = now() if $until;
    } elsif ($word eq "again") {
        exit(75);
    } elsif ($word eq "go") {
        ($began, $until) = (now(), now() + $words[0]);
        alarm $words[0] + $GRACE;
        $_->{until} = $began + $DIRECT for values %outside;
        $outside{"127.0.0.11"}{until} = $began + $FORWARDS * (keys(%outside) - 1) if %outside;
    }
}

# An engine may fail to reach its store for one container; that container then never learns a name.
sub complain {
    return if $nameless || !grep { $_->{wants}{name} } values %peer;
    return if now() < $began + $NAMELESS + $FOR_EACH * keys %peer || grep { $_->{seen}{name} } values %peer;
    $nameless = grep { $_->{seen}{address} } values %peer or return;
    say_line("nameless", since());
}

sub work {
    my $soonest = $until;
    complain();
    for my $peer (grep { !over($_) } values %peer) {
        try_peer($peer) if $peer->{due} <= now();
        sweep($peer);
        for my $due ($peer->{due}, $peer->{largest} ? () : $peer->{resend} // ()) { $soonest = $due if $due < $soonest }
    }
    my @timing = map { proven($_) ? time_peer($_) : () } values %peer;
    for my $due (@timing, map({ try_stranger($_) } values %stranger), map({ beyond_over($_) ? () : try_beyond($_) } @beyond),
        map { outside_over($_) ? () : try_outside($_) } values %outside) {
        $soonest = $due if $due < $soonest;
    }
    finish() if now() >= $until || !@timing && !grep({ !over($_) } values %peer)
        && !grep({ !flow_over($_) } values %flow) && (!%flow || now() >= $began + $hold)
        && !grep({ !tried($_) } values %stranger) && !grep({ !beyond_over($_) } @beyond) && !grep { !outside_over($_) } values %outside;
    return $soonest;
}

sub end {
    if ($finished) { say_held(); flush_lines() }
    exit(0);
}

say_line("ready", $address, $mtu, $address6 // ());
flush_lines();
my $orders = "";
my $awake = now();  # when this loop should continue at the latest
sub catch_up {
    my $late = now() - $awake;
    $paused += $late if $late > $LATE;
    $awake = now();
}
while (1) {
    catch_up();
    my @due = map { tend($_) } $until ? values %flow : ();
    my $wake = $until && !$finished ? work() : $began + $patience + $GRACE;
    for (@due, length $out ? $flushed + $FLUSH : ()) { $wake = $_ if $_ < $wake }
    $wake = now() if now() > $wake;
    my @connected = grep { $_->{socket} } values %flow, values %caller;
    my ($ready, $free) = ("", "");
    vec($ready, fileno $_, 1) = 1 for \*STDIN, @echoes, $abroad, $listener, $dns // (), map({ @{$_->{sockets}} } values %outside),
        map { $_->{socket} } @connected;
    vec($free, fileno $_->{socket}, 1) = 1 for grep { length $_->{out} } @connected;
    select $ready, $free, undef, $wake - now() > 0 ? $wake - now() : 0;
    $awake = $wake;
    catch_up();
    flush_lines() if length $out && now() >= $flushed + $FLUSH;
    vec($ready, fileno $_, 1) && take_datagrams($_) for @echoes;
    take_strangers() if vec $ready, fileno $abroad, 1;
    for my $flow (grep { $_->{socket} } values %flow) {
        take_answers($flow) if vec $ready, fileno $flow->{socket}, 1;
    }
    my @callers = values %caller;  # copies: what follows may remove some, and Perl ends a loop over freed values
    for my $caller (@callers) {
        my $number = fileno $caller->{socket};
        if (vec $ready, $number, 1) { hear($caller) }
        elsif (vec $free, $number, 1) { push_out($caller) or hang_up($caller) }
    }
    welcome() if vec $ready, fileno $listener, 1;
    if ($dns && vec $ready, fileno $dns, 1) {
        my $error = take_names($dns);
        if ($error) { $_->{why}{name} = $_->{why}{alias} = "127.0.0.11: $error" for values %peer }
    }
    for my $server (values %outside) {
        my @answered = grep { vec $ready, fileno $_, 1 } @{$server->{sockets}};
        take_outside($server, $_) for @answered;
    }
    next unless vec $ready, fileno STDIN, 1;
    sysread STDIN, $orders, 65536, length $orders or end();
    order($1) while $orders =~ s/^([^\n]*)\n//;
}
