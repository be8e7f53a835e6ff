# Asks from several network namespaces at once: silence in one of them takes no time from the others.
#
# Arguments: the programs that ask for names, send echo requests, and open connections. Input: lines of KIND ADDRESS FILE ARGUMENT...;
# KIND is "names", "echo" or "call", ADDRESS is that of the container that asks, and FILE is its network namespace.
# Writes what they write, each line after "KIND:ADDRESS ".
use strict;
use warnings;

my ($AT_ONCE, $LONGEST) = (16, 5);  # programs; seconds for each
my %program;
@program{"names", "echo", "call"} = @ARGV;
my %known;  # two networks may have the same subnet
my @asked = grep { !$known{"@$_[0, 1]"}++ } map { [split] } <STDIN>;
while (my @some = splice @asked, 0, $AT_ONCE) {
    my @running;
    for (@some) {
        my ($kind, $address, $space, @arguments) = @$_;
        my @command = ("nsenter", "--net=$space", "timeout", $LONGEST, "perl", "-e", $program{$kind}, @arguments);
        open my $output, "-|", @command or next;
        push @running, ["$kind:$address", $output];
    }
    for (@running) {
        my ($name, $output) = @$_;
        while (my $line = <$output>) { print "$name $line" }
    }
}
