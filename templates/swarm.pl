{% include "ask.pl" %}
# Sends a request about the swarm to the engine. A token never appears in an argument: it is read from standard input into the
# request, or printed from the answer.
# Arguments: METHOD PATH BODY, or GET /swarm ROLE for the token of that role.
my ($method, $path, $body) = @ARGV;
sub stop { print STDERR "@_\n"; exit 1 }
if ($path eq "/swarm/join") {
    my ($token) = (<STDIN> // "") =~ /^(SWMTKN-[\w-]+)$/ or stop("standard input has no join token");
    $body =~ s/\}\s*$/,"JoinToken":"$token"}/;
}
my ($code, $said) = eval { ask($method, $path, $method eq "GET" ? "" : $body, 60) } or stop("the engine: $@");
if ($code >= 300) {
    $said =~ s/SWMTKN-[\w-]+/(token)/g;
    stop($said);
}
if ($method eq "GET") {
    my ($token) = $said =~ /"$body":"(SWMTKN-[\w-]+)"/ or stop("the engine has no token for the role $body");
    print "$token\n";
}
