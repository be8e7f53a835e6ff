# Written by provisioner. Carries the engine's requests to a server of ZooKeeper, and mends what the engine gets wrong there
# (libkv's store/zookeeper/zookeeper.go; libnetwork's store.go: getNetworksFromStore; docs/decisions/zookeeper.md):
# - Of the children of endpoint_count engines from 17.05 on want whole paths, and get names; then the first container of a
#   network takes the engine down. So whole paths are told, and what is then asked for (folder + whole path) is set right.
# - They take a folder's version for that of every key in it, so that no key that was ever changed can be changed or removed
#   again. So the folder's version is a ticket for the moment of the listing: a change with a ticket is made with the version
#   that the key had when it was first read after that moment. The engine has read that one or a later one, so a change can
#   fail needlessly (the engine reads and tries again), but never undo another.
# - They read, then watch, and miss what happens in between; and see keys that are made and not yet filled. So they are told
#   that something has changed when what they begin to watch is not what they have read, or when a key was empty.
# Arguments: the port on loopback, and the servers as ADDRESS:PORT in the order in which they are tried.
# Frames are as in ZooKeeper's zookeeper.jute: length, then xid and kind (requests) or xid, zxid and error (answers).
use strict; use warnings; use Socket;
my ($port, @servers) = @ARGV;
my ($EXISTS, $DELETE, $GET, $SET, $LIST, $LIST_AND_STAT) = (3, 2, 4, 5, 8, 12);
my ($DATA_CHANGED, $CHILDREN_CHANGED) = (3, 4);
my ($TICKETS, $NEVER) = (0x40000000, 0x3fffffff);    # versions: tickets from there on; one that no key has
my ($KEPT, $KEYS) = (8, 65536);                      # readings of a key; keys with readings
my ($STAT, $IN_STAT) = (68, 32);                     # bytes of a stat; the place of the version in it
my $FILLED = 0.25;                                   # seconds in which a key that was made is filled
$SIG{PIPE} = $SIG{CHLD} = "IGNORE";
$| = 1;

# What one connection of the engine has been told. Tickets of an earlier one are good for nothing, and are lower: it gave out
# fewer than 16 a second.
my ($began, $ticket);
my (%asked, %read);           # xid -> kind, path and whether it watches; path -> readings: last ticket, version
my (%seen, %hollow, %due);    # "kind path" -> what was read since it was last watched; folders with empty keys; those to be told of

sub request {
    my ($frame) = @_;
    return $frame if length $frame < 12;
    my ($xid, $kind, $length) = unpack "N3", $frame;
    return $frame unless grep { $kind == $_ } $EXISTS, $DELETE, $GET, $SET, $LIST, $LIST_AND_STAT;
    return $frame if 12 + $length >= length $frame;
    my ($path, $rest) = unpack "x12 a$length a*", $frame;
    $path =~ s{^(/(?:.+/)?endpoint_count)\1/}{$1/};
    $asked{$xid} = [$kind, $path, unpack "C", $rest] if $kind == $GET or $kind == $LIST or $kind == $LIST_AND_STAT;
    if ($kind == $SET or $kind == $DELETE) {
        my $version = unpack "N", substr $rest, -4;
        substr($rest, -4) = pack "N", at($path, $version) if $version >= $TICKETS and $version < 0x80000000;
    }
    return pack("N2 N/a*", $xid, $kind, $path) . $rest;
}

sub at {    # the version that a key had at a ticket
    my ($path, $version) = @_;
    return $NEVER if $version < $began;
    for my $reading (@{ $read{$path} // [] }) { return $reading->[1] if $reading->[0] >= $version }
    return $NEVER;
}

sub reading {
    my ($path, $version) = @_;
    if (keys %read >= $KEYS and !$read{$path}) { %read = (); $began = $ticket + 1 }
    my $readings = $read{$path} //= [];
    if (@$readings and $readings->[-1][1] == $version) { $readings->[-1][0] = $ticket; return }
    push @$readings, [$ticket, $version];
    if (@$readings > $KEPT) { shift @$readings; $readings->[0][1] = $NEVER }
}

sub answer {
    my ($frame) = @_;
    return $frame if length $frame < 16;
    my ($xid, $error) = unpack "N x8 N", $frame;
    my ($kind, $path, $watches) = @{ delete $asked{$xid} // return $frame };
    return $frame if $error;
    return ($frame, got($path, $watches, substr $frame, 16)) if $kind == $GET;
    my @names = unpack "x16 N/(N/a*)", $frame;
    my $rest = $kind == $LIST_AND_STAT ? substr $frame, -$STAT : "";
    substr($rest, $IN_STAT, 4) = pack "N", ++$ticket if $rest;
    my @event = missed($CHILDREN_CHANGED, $path, $watches, join "/", sort @names);
    $due{$path} = 1 if $watches and delete $hollow{$path} and !@event;
    @names = map { substr("$path/$_", 1) } @names if $path =~ m{/endpoint_count$};
    return (substr($frame, 0, 16) . pack("N", scalar @names) . pack("(N/a*)*", @names) . $rest, @event);
}

sub got {    # data and stat
    my ($path, $watches, $answer) = @_;
    my $version = unpack "N", substr $answer, $IN_STAT - $STAT;
    $hollow{$1} = 1 if length $answer <= 4 + 1 + $STAT and $path =~ m{^(.*)/};    # nothing, or one byte that libkv puts there
    reading($path, $version);
    return missed($DATA_CHANGED, $path, $watches, $version);
}

sub missed {    # the event that is to be told, if any: another state than was read since it was last watched
    my ($event, $path, $watches, $state) = @_;
    my $key = "$event $path";
    if (!$watches) { $seen{$key} = exists $seen{$key} && $seen{$key} ne $state ? "\0" : $state; return }
    my $seen = delete $seen{$key} // return;
    return $seen eq $state ? () : event($event, $path);
}

sub event { my ($event, $path) = @_; return pack "N4 N2 N/a*", (0xffffffff) x 3, 0, $event, 3, $path }

sub server {
    for my $to (@servers) {
        my ($host, $at) = $to =~ /^(.+):(\d+)$/ or next;
        my $socket;
        return $socket if eval {
            local $SIG{ALRM} = sub { die "no answer\n" };
            alarm 2;
            my $address = inet_aton $host or die "no such name\n";
            socket $socket, PF_INET, SOCK_STREAM, 0 or die "$!\n";
            connect $socket, sockaddr_in($at, $address) or die "$!\n";
            alarm 0;
            1;
        };
        alarm 0;
        print "$to: $@";
    }
    return;
}

sub send_all {
    my ($to, $text) = @_;
    for (my $sent = 0; $sent < length $text;) { $sent += syswrite($to, $text, 65536, $sent) // return 0 }
    return 1;
}

sub carry {    # until one of them closes; the first frame of each is the session's
    my ($client, $server) = @_;
    my @ways = ([$client, $server, \&request], [$server, $client, \&answer]);
    my (@buffers, @begun) = ("", "");
    while (1) {
        my $bits = "";
        vec($bits, fileno $_->[0], 1) = 1 for @ways;
        my $ready = select $bits, undef, undef, %due ? $FILLED : undef;
        next if $ready < 0;
        if (!$ready) {    # nothing else was said for so long
            send_all($client, pack "(N/a*)*", map { event($CHILDREN_CHANGED, $_) } keys %due) or return;
            %due = ();
        }
        for my $way (0, 1) {
            my ($from, $to, $change) = @{ $ways[$way] };
            next unless vec $bits, fileno $from, 1;
            sysread $from, $buffers[$way], 65536, length $buffers[$way] or return;
            my $out = "";
            while (length $buffers[$way] >= 4) {
                my $length = unpack "N", $buffers[$way];
                last if length $buffers[$way] < 4 + $length;
                my $frame = substr $buffers[$way], 4, $length;
                substr $buffers[$way], 0, 4 + $length, "";
                $out .= pack "(N/a*)*", $begun[$way]++ ? $change->($frame) : $frame;
            }
            send_all($to, $out) or return;
        }
    }
}

socket my $listener, PF_INET, SOCK_STREAM, 0 or die "$!\n";
setsockopt $listener, SOL_SOCKET, SO_REUSEADDR, 1;
bind $listener, sockaddr_in($port, INADDR_LOOPBACK) or die "127.0.0.1:$port: $!\n";
listen $listener, 64 or die "$!\n";
while (1) {
    accept my $client, $listener or next;
    my $child = fork // die "$!\n";
    next if $child;
    close $listener;
    $began = $ticket = $TICKETS + (time * 16) % ($TICKETS - (1 << 24));
    my $server = server() or exit 1;
    carry($client, $server);
    exit;
}
