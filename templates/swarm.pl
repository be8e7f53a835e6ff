{% include "ask.pl" %}
# Asks the engine for its swarm. What has a token in it never stands in an argument: a token is read from standard input
# into the request, or printed from the answer to the one who asked.
# Arguments: METHOD PATH BODY, or GET /swarm ROLE for the token of that role.
my ($method, $path, $body) = @ARGV;
sub stop { print STDERR "@_\n"; exit 1 }
if ($path eq "/swarm/join") {
    my ($token) = (<STDIN> // "") =~ /^(SWMTKN-[\w-]+)$/ or stop("no token to join with was given");
    $body =~ s/\}\s*$/,"JoinToken":"$token"}/;
}
my ($code, $said) = eval { ask($method, $path, $method eq "GET" ? "" : $body, 60) } or stop("the engine: $@");
if ($code >= 300) {
    $said =~ s/SWMTKN-[\w-]+/(token)/g;
    stop($said);
}
if ($method eq "GET") {
    my ($token) = $said =~ /"$body":"(SWMTKN-[\w-]+)"/ or stop("it has no token for that");
    print "$token\n";
}
