{% include "ask.pl" %}
# Sends one request to the engine. Prints the answer; exit code 4 means "not found", and 1 another error.
# Arguments: SECONDS METHOD PATH BODY. BODY is optional; "-": standard input.
my ($seconds, $method, $path, $body) = (@ARGV, "");
$body = do { local $/; <STDIN> } if $body eq "-";
my ($code, $said) = eval { ask($method, $path, $body, $seconds) } or print("the engine: $@"), exit 1;
print "$said\n";
exit($code < 300 ? 0 : $code == 404 ? 4 : 1);
