# What a host is asked that files don't tell: its addresses, the listening sockets on our ports, what its engine and the
# store's agent answer, and whom the engine knows. It only reads. Without perl's module Socket, which takes as long to
# load as the rest: Linux's own numbers instead.
# Arguments: the mark in front of each section, our ports (1,2,...), a file that is there where sockets are the cluster's
# own, and requests: "NAME WHERE WHAT METHOD BODY". WHERE is a socket, a port of this host's or ADDRESS:PORT; WHAT a path, over
# HTTP/1.0 so that answers come unchunked, or a word that is sent as it is; METHOD is GET where there is none, and BODY has no
# blanks. Without ports the requests are all that is asked.
my ($mark, $ports, $settled) = splice @ARGV, 0, 3;
my ($unix, $inet, $inet6, $netlink, $stream, $datagram, $raw) = (1, 2, 10, 16, 1, 2, 3);

sub addresses {
  print "\n$mark addresses\n";
  socket my $s, $inet, $datagram, 0 or return;
  my $wide = length pack("P", 0) == 8; my $buffer = "\0" x 65520;               # netdevice(7)
  my $all = pack $wide ? "i x4 P" : "i P", length $buffer, $buffer;
  ioctl $s, 0x8912, $all;                                                      # SIOCGIFCONF: in the kernel's order
  for (my $at = 0; $at < unpack "i", $all; $at += $wide ? 40 : 32) {
    my $asked = substr $buffer, $at, $wide ? 40 : 32;
    my ($name, $address) = unpack "Z16 x4 a4", $asked;
    my $mask = ioctl($s, 0x891b, $asked) ? substr $asked, 20, 4 : "\377" x 4;   # SIOCGIFNETMASK
    print "$name ", join(".", unpack "C4", $address), " ", join(".", unpack "C4", $mask), "\n";
  }
}

# sock_diag(7). In /proc/net/tcp all connections are looked through for the few sockets that listen.
sub listening {
  my ($family, $protocol, $states) = @_; my @found;
  socket my $s, $netlink, $raw, 4 or return;
  syswrite $s, pack "L S S L L C C C C L x48", 72, 20, 0x301, 1, 0, $family, $protocol, 0, 0, 1 << $states or return;
  while (sysread $s, my $data, 65536) {
    for (my $at = 0; $at + 16 <= length $data;) {
      my ($length, $type) = unpack "L S", substr $data, $at, 16;
      return \@found if $type == 3;
      return if $type == 2 || $length < 16;
      my ($port, $address, $inode) = unpack "x20 n x2 a4 x56 L", substr $data, $at, $length;
      push @found, [$port, $address, $inode];
      $at += $length + 3 & ~3;
    }
  }
  return;
}
sub listening_in_proc {
  my ($name) = @_; my @found;
  open my $file, "<", "/proc/net/$name" or return [];
  while (<$file>) {
    my ($local, $remote, $inode) = (split)[1, 2, 9];
    my ($address, $port) = $local =~ /^([0-9A-F]{8}).*:(....)$/ or next;
    push @found, [hex $port, pack("L", hex $address), $inode] if $remote =~ /^0+:0000$/;
  }
  return \@found;
}
my $gossip;
sub ports {
  print "\n$mark ports\n";
  my %ours = map { $_ => 1 } split /,/, $ports; my %inode;
  for (["tcp", $inet, 6, 10], ["tcp", $inet6, 6, 10], ["udp", $inet, 17, 7], ["udp", $inet6, 17, 7]) {
    my ($kind, $family, @how) = @$_;
    for (@{ listening($family, @how) || listening_in_proc($kind . ($family == $inet6 ? "6" : "")) }) {
      my ($port, $address, $inode) = @$_;
      next unless $ours{$port};
      $inode{$inode} = 1; print "$kind $port $inode\n";
      $gossip = $address if $port == 7946 && $kind eq "tcp" && $family == $inet;
    }
  }
  return unless %inode && !-e $settled;
  for my $fd (glob "/proc/[0-9]*/fd/*") {
    my ($inode) = (readlink($fd) // "") =~ /^socket:\[(\d+)\]/ or next;
    next unless $inode{$inode};
    my ($pid) = $fd =~ m{^/proc/(\d+)}; open my $file, "<", "/proc/$pid/comm" or next;
    chomp(my $name = <$file>); print "owner $inode $pid $name\n";
  }
}

if ($ports) { addresses(); ports() }
my (%silent, $swarm);
for (@ARGV) {
  my ($name, $where, $path, $method, $sent) = split / /; my $body = "";
  $method //= "GET"; $sent //= "";
  eval {
    die "timeout\n" if $silent{$where};
    local $SIG{ALRM} = sub { die "timeout\n" }; alarm 5;
    my $local = $where =~ m{^/};
    my ($address, $port) = $where =~ m{^([^/].*):(\d+)$} ? (scalar gethostbyname $1 || die("its name is not known\n"), $2) : ("\x7f\0\0\1", $where);
    my $to = $local ? pack("S a108", $unix, $where) : pack("S n a4 x8", $inet, $port, $address);
    my $s; socket($s, $local ? $unix : $inet, $stream, 0) && connect($s, $to) or die "$!\n";
    syswrite $s, $path =~ m{^/} ? "$method $path HTTP/1.0\r\nHost: localhost\r\nContent-Length: " . length($sent) . "\r\n\r\n$sent" : $path;
    1 while sysread $s, $body, 65536, length $body;
    alarm 0;
  };
  if ($@) { $body = "000 $@"; $silent{$where} = $@ eq "timeout\n" } elsif ($path =~ m{^/}) { $body =~ s{^HTTP/\S+ (\d+).*?\r\n\r\n}{$1 }s }
  $swarm = 1 if $name eq "info" && $body =~ /"LocalNodeState":"(?!inactive)/;
  print "\n$mark http:$name\n$body\n";
}

exit unless $ports;
my $known = "";
eval {                                                                         # what is asked: see gossip.pl
  local $SIG{ALRM} = sub { die }; alarm 2;
  my $s; socket($s, $inet, $stream, 0) && connect($s, pack "S n a4 x8", $inet, 7946, $gossip) or die;
  syswrite $s, "\x06\x83\xa5Nodes\0\xacUserStateLen\0\xa4Join\xc2";
  1 while length $known < 16384 && sysread $s, $known, 16384, length $known;
} if $gossip && !$swarm;                                                       # a swarm's is encrypted
alarm 0;
print "\n$mark gossip\n", unpack("H*", $known), "\n";
