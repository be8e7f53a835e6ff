# Reads what the shell can't read safely: files, addresses, listening sockets, and the answers of the engine and the store.
# It changes nothing. It uses Linux's numbers instead of Perl's modules Socket and Fcntl, whose loading would double its time.
# Each argument is a kind and a value:
#   file PATH, glob PATTERN, secret PATH   files to read; of a secret, its mode and owner too
#   port NUMBER, settled PATH              list listening sockets on these ports; also their processes while PATH is absent, or
#                                          if another user holds a port that a request goes to
#   user NAME                              a user whose servers on this host are trusted, in addition to root's
#   scheme NAME                            the scheme of the store's URL
#   limit SECONDS                          how long an answer may take, if not 5; after one that came too late: 2, and then 1
#   engine NAME SOCKET PATH                a request to the engine; not sent to a stopped engine, since it would start it
#   ask NAME WHERE WHAT METHOD BODY        a request. WHERE is a socket, a port of this host or ADDRESS:PORT. WHAT is a path, sent
#                                          with HTTP/1.0 so that the answer is not chunked, or a word that is sent unchanged.
#                                          METHOD defaults to GET, and BODY has no blanks.
# The first line of the output has the findings about the engine for the shell. Sections follow: "NAME LENGTH", the body, and a
# newline. So no body can imitate a section, whoever wrote it.
my %wanted = map { $_ => [] } qw(file glob secret port settled user scheme limit first engine ask);
for (@ARGV) { my ($kind, $value) = split / /, $_, 2; push @{ $wanted{$kind} }, $value }
my ($unix, $inet, $inet6, $netlink, $stream, $datagram, $raw) = (1, 2, 10, 16, 1, 2, 3);
my $most = 1 << 25;                                                            # bytes of one file, or of one answer
my ($out, %answers) = ("");
sub section { my ($name, $body) = @_; $body =~ tr/\0//d; $out .= "$name " . length($body) . "\n$body\n" }

# Opens a regular file. A symbolic link is followed only in a folder that only root can write: elsewhere another user may have
# created it. Returns the handle, whether only root can write the file and every folder on its path, and its stat.
sub roots { my ($mode, $uid, $gid) = @_[2, 4, 5]; return $uid == 0 && !($mode & ($gid ? 022 : 02)) }
sub reach {
  my ($path) = @_;
  lstat $path or return;
  chdir "/" or return;
  my ($ours, $links, @names) = (1, 0, grep length, split m{/}, $path);
  while (defined(my $name = shift @names)) {
    my @seen = lstat $name or return;
    if (-l _) {
      return if !$ours || $seen[4] || $links++ > 20;
      my $to = readlink($name) // return;
      chdir "/" if $to =~ m{^/};
      unshift @names, grep length, split m{/}, $to;
      next;
    }
    my $file;
    if (@names) { -d _ && chdir $name or return }
    else { -f _ && sysopen $file, $name, 04000 or return }                     # O_NONBLOCK: it may be a pipe by now
    my @opened = $file ? stat $file : stat ".";
    return unless "@opened[0, 1]" eq "@seen[0, 1]";                            # replaced in the meantime
    $ours &&= roots(@opened);
    return ($file, $ours, @opened) if $file;
  }
  return;
}
sub files {
  my ($lines, $secret, $guarded) = ("", "", "");
  for ([\$lines, @{ $wanted{file} }, map { glob } @{ $wanted{glob} }], [\$secret, @{ $wanted{secret} }]) {
    my ($to, @paths) = @$_;
    for my $path (@paths) {
      my ($file, $ours, @stat) = reach($path) or next;
      my $text = "";
      1 while length $text < $most && sysread $file, $text, 65536, length $text;
      $$to .= "$path:$_\n" for split /\n/, $text =~ s/\n\z//r, -1;
      $guarded .= "$path\n" if $ours;
      next unless $to == \$secret;
      my ($user, $group) = (scalar getpwuid $stat[4], scalar getgrgid $stat[5]);
      $secret .= sprintf "=%o %s:%s %s\n", $stat[2] & 07777, $user // "UNKNOWN", $group // "UNKNOWN", $path;
    }
  }
  chdir "/";
  section("files", $lines); section("secrets", $secret); section("guarded", $guarded);
}

sub addresses {
  my $lines = "";
  if (socket my $s, $inet, $datagram, 0) {
    my $wide = length pack("P", 0) == 8; my $buffer = "\0" x 65520;             # netdevice(7)
    my $all = pack $wide ? "i x4 P" : "i P", length $buffer, $buffer;
    ioctl $s, 0x8912, $all;                                                    # SIOCGIFCONF: in the kernel's order
    for (my $at = 0; $at < unpack "i", $all; $at += $wide ? 40 : 32) {
      my $entry = substr $buffer, $at, $wide ? 40 : 32;
      my ($name, $address) = unpack "Z16 x4 a4", $entry;
      my $mask = ioctl($s, 0x891b, $entry) ? substr $entry, 20, 4 : "\377" x 4; # SIOCGIFNETMASK
      $lines .= "$name " . join(".", unpack "C4", $address) . " " . join(".", unpack "C4", $mask) . "\n";
    }
  }
  section("addresses", $lines);
}

# Listening sockets by sock_diag(7): [port, address, inode, uid] of each. In /proc/net/tcp, they would have to be searched among
# all connections.
sub listening {
  my ($family, $protocol, $states) = @_; my @found;
  socket my $s, $netlink, $raw, 4 or return;
  syswrite $s, pack "L S S L L C C C C L x48", 72, 20, 0x301, 1, 0, $family, $protocol, 0, 0, 1 << $states or return;
  while (sysread $s, my $data, 65536) {
    for (my $at = 0; $at + 16 <= length $data;) {
      my ($length, $type) = unpack "L S", substr $data, $at, 16;
      return \@found if $type == 3;
      return if $type == 2 || $length < 16;
      my ($port, $address, $uid, $inode) = unpack "x20 n x2 a16 x40 L L", substr $data, $at, $length;
      push @found, [$port, $family == $inet ? substr $address, 0, 4 : $address, $inode, $uid];
      $at += $length + 3 & ~3;
    }
  }
  return;
}
sub listening_in_proc {
  my ($name) = @_; my @found;
  open my $file, "<", "/proc/net/$name" or return [];
  while (<$file>) {
    my ($local, $remote, $uid, $inode) = (split)[1, 2, 7, 9];
    my ($address, $port) = $local =~ /^([0-9A-F]+):(....)$/ or next;
    push @found, [hex $port, pack("L*", map { hex } $address =~ /.{8}/g), $inode, $uid] if $remote =~ /^0+:0000$/;
  }
  return \@found;
}
my (%sockets, %kinds);
@kinds{qw(tcp tcp6 udp udp6)} = ([$inet, 6, 10], [$inet6, 6, 10], [$inet, 17, 7], [$inet6, 17, 7]);
sub sockets { my ($kind) = @_; return @{ $sockets{$kind} //= listening(@{ $kinds{$kind} }) || listening_in_proc($kind) } }

my %trusted = map { $_ => 1 } 0, grep defined, map { scalar getpwnam $_ } @{ $wanted{user} };
sub ports {
  my %ours = map { $_ => 1 } @{ $wanted{port} };
  my %local = map { (split)[1] => 1 } @{ $wanted{ask} };
  my ($lines, $look, %inode) = ("", !grep { -e } @{ $wanted{settled} });
  for my $name (qw(tcp tcp6 udp udp6)) {
    my $kind = substr $name, 0, 3;
    for (sockets($name)) {
      my ($port, $address, $inode, $uid) = @$_;
      next unless $ours{$port};
      $inode{$inode} = 1; $lines .= "$kind $port $inode\n";
      $look ||= $local{$port} && !$trusted{$uid};
    }
  }
  for my $fd (%inode && $look ? glob "/proc/[0-9]*/fd/*" : ()) {
    my ($inode) = (readlink($fd) // "") =~ /^socket:\[(\d+)\]/ or next;
    next unless $inode{$inode};
    my ($pid) = $fd =~ m{^/proc/(\d+)}; open my $file, "<", "/proc/$pid/comm" or next;
    my $name = do { local $/; <$file> } // next;                               # any user can choose it, newlines included
    $name =~ s/\n\z//; $name =~ s/[^\x20-\x7e]/?/g;
    $lines .= "owner $inode $pid $name\n";
  }
  section("ports", $lines);
}

# Returns (uid, address) of the socket that gets this host's own connections to a port. Any user may take the port before the
# server does, or while it is down.
my %here = map { $_ => 1 } "\0" x 4, "\x7f\0\0\1", "\0" x 16, "\0" x 10 . "\xff\xff\x7f\0\0\1";
sub listener {
  my ($port) = @_;
  my ($found) = grep { $_->[0] == $port && $here{ $_->[1] } } sockets("tcp"), sockets("tcp6");
  return $found ? @$found[3, 1] : ();
}
sub check_server {
  my ($port) = @_;
  my ($uid) = listener($port) or die "Connection refused\n";
  die "port $port is held by the user " . (getpwuid($uid) // $uid) . ", not by the server that belongs there\n" unless $trusted{$uid};
}

my ($units, $engine) = ("/run/systemd/units", "/var/run/docker.sock");
my $stopped = -d $units && !-l "$units/invocation:docker.service";
my %silent;
my ($limit) = (@{ $wanted{limit} }, 5);
sub ask {
  my ($name, $where, $path, $method, $sent) = split / /, shift; my $body = "";
  $method //= "GET"; $sent //= "";
  eval {
    die "timeout\n" if $silent{$where};
    die "the engine is stopped\n" if $stopped && $where eq $engine;            # a request would start it
    local $SIG{ALRM} = sub { die "timeout\n" }; alarm $limit;
    my $local = $where =~ m{^/};
    check_server($where) if $where =~ /^\d+$/;
    my ($address, $port) = $where =~ m{^([^/].*):(\d+)$} ? (scalar gethostbyname $1 || die("the name can't be resolved\n"), $2) : ("\x7f\0\0\1", $where);
    my $to = $local ? pack("S a108", $unix, $where) : pack("S n a4 x8", $inet, $port, $address);
    my $s; socket($s, $local ? $unix : $inet, $stream, 0) && connect($s, $to) or die "$!\n";
    syswrite $s, $path =~ m{^/} ? "$method $path HTTP/1.0\r\nHost: localhost\r\nContent-Length: " . length($sent) . "\r\n\r\n$sent" : $path;
    while (sysread $s, $body, 65536, length $body) { die "its answer is too long\n" if length $body > $most }
    alarm 0;
  };
  if ($@) { $body = "000 $@"; $limit = $limit > 2 ? 2 : 1 if $@ eq "timeout\n" && !$silent{$where}++ } elsif ($path =~ m{^/}) { $body =~ s{^HTTP/\S+ (\d+).*?\r\n\r\n}{$1 }s }
  $answers{$name} = $body;
  section("http:$name", $body);
}

# An engine's gossip listens on all addresses or on the advertised one, and as root.
sub gossip {
  my $known = "";
  my ($own) = grep { $_->[0] == 7946 && $_->[3] == 0 } sockets("tcp");
  eval {                                                                       # for the request, see gossip.pl
    local $SIG{ALRM} = sub { die }; alarm 2;
    my $s; socket($s, $inet, $stream, 0) && connect($s, pack "S n a4 x8", $inet, 7946, $own->[1]) or die;
    syswrite $s, "\x06\x83\xa5Nodes\0\xacUserStateLen\0\xa4Join\xc2";
    1 while length $known < 16384 && sysread $s, $known, 16384, length $known;
  } if $own && ($answers{info} // "") !~ /"LocalNodeState":"(?!inactive)/;      # a swarm's gossip is encrypted
  alarm 0;
  section("gossip", unpack "H*", $known);
}

# On some systems, Perl lacks modules that our programs use.
my @needed = qw(strict warnings Config Errno Fcntl IO::Handle IO::Socket IPC::Open2 Socket);
sub modules {
  my @lacks = grep { my $file = s{::}{/}gr . ".pm"; !grep { -e "$_/$file" } @INC } @needed;
  section("perl", "@lacks") if @lacks;
}

if (@{ $wanted{file} }) { files(); modules() }
if (@{ $wanted{port} }) { addresses(); ports() }
my @engine = $stopped ? () : @{ $wanted{engine} };
ask($_) for @{ $wanted{first} }, @engine, @{ $wanted{ask} };
gossip() if @{ $wanted{port} } && !$silent{$engine};                           # else it would hang too
my ($info, $networks) = map { $answers{$_} // "" } qw(info networks);
my ($scheme) = @{ $wanted{scheme} };
print "engine:", $info =~ /"ServerVersion"/ ? " answers" : "", $info =~ /"LocalNodeState":"active"/ ? " in-swarm" : "",
  defined $scheme && $info =~ /"ClusterStore":"\Q$scheme\E:/ && $networks =~ /"Driver":"overlay"/ ? " on-store" : "", "\n$out";
