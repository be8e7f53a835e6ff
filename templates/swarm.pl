# Asks this host's engine over its socket. What has a token in it never stands in an argument: a token is read from standard
# input into the request, or printed from the answer to the one who asked.
# Arguments: METHOD PATH BODY, or GET /swarm ROLE for the token of that role.
use strict; use warnings;
my ($method, $path, $body) = @ARGV;
sub stop { print STDERR "@_\n"; exit 1 }
if ($path eq "/swarm/join") {
  my ($token) = (<STDIN> // "") =~ /^(SWMTKN-[\w-]+)$/ or stop("no token to join with was given");
  $body =~ s/\}\s*$/,"JoinToken":"$token"}/;
}
my $answer = "";
eval {
  local $SIG{ALRM} = sub { die "no answer in time\n" };
  alarm 60;
  my $s; socket($s, 1, 1, 0) && connect($s, pack "S a108", 1, "/var/run/docker.sock") or die "$!\n";
  my $sent = $method eq "GET" ? "" : $body;
  syswrite $s, "$method $path HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " . length($sent) . "\r\n\r\n$sent";
  1 while sysread $s, $answer, 65536, length $answer;
  alarm 0;
  1;
} or stop("the engine: $@");
my ($code, $said) = $answer =~ m{^HTTP/\S+ (\d+).*?\r\n\r\n(.*)}s or stop("the engine gave no answer");
if ($code >= 300) {
  $said = $1 if $said =~ /"message":"((?:[^"\\]|\\.)*)"/;
  $said =~ s/SWMTKN-[\w-]+/(token)/g;
  stop($said);
}
if ($method eq "GET") {
  my ($token) = $said =~ /"$body":"(SWMTKN-[\w-]+)"/ or stop("it has no token for that");
  print "$token\n";
}
