{% include "ask.pl" %}
# Lists for probe.sh.j2 what earlier probes may have left: "endpoint RUN" for endpoints on the network whose run has no image
# any more, and "image TAG" for every probe image.
# Arguments: the network, and the part of this host's probe names that follows the run.
sub look { # PATH
    my ($code, $said) = ask("GET", $_[0], "", 30);
    $code == 200 or exit 1;
    return $said;
}
my ($containers) = look("/networks/$ARGV[0]") =~ /"Containers":\{(.*?\})?\}/s;
my @runs = map { /^provisioner-probe-([0-9a-f]+)-\Q$ARGV[1]\E$/ } ($containers // "") =~ /"Name":"([\w.-]+)"/g;
my @tags = look("/images/json?filters=%7B%22reference%22%3A%5B%22provisioner%2Fprobe%22%5D%7D") =~ m{"provisioner/probe:([\w-]+)"}g;
my %kept = map { /^([0-9a-f]+)-/ ? ($1 => 1) : () } @tags;
print map({ "endpoint $_\n" } grep { !$kept{$_} } @runs), map { "image $_\n" } @tags;
