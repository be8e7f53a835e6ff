{% include "ask.pl" %}
# One request to the engine: what it says goes to standard output, and the exit code tells how it went.
# Arguments: SECONDS METHOD PATH, and what else is to be sent; "-": what standard input has.
my ($seconds, $method, $path, $body) = (@ARGV, "");
$body = do { local $/; <STDIN> } if $body eq "-";
my ($code, $said) = eval { ask($method, $path, $body, $seconds) } or print("the engine: $@"), exit 1;
print "$said\n";
exit($code < 300 ? 0 : $code == 404 ? 4 : 1);
