# Reads evidence about a host: output of commands, and answers of its engine and its store. Changes nothing.
#
# Each argument is one piece: "NAME BYTES KIND WHAT". BYTES: how much of it is kept at most.
#   run COMMAND           the output of a shell command, with what it writes on standard error
#   ask WHERE PATH        the answer of a socket, or of a port of this host, to GET
#   each WHERE LIST PATH  the answers to PATH for each "Id" in the answer to LIST, as one JSON list. {} in PATH is the ID.
# Writes for each piece a line "NAME STATE LENGTH", its bytes and a newline. STATE: whole, cut (there was more), late (it did not
# end in time), none (there is none), refused:CODE, failed:CODE, skipped (no time or room is left).
use strict;
use warnings;
$SIG{PIPE} = "DEFAULT";
my ($PIECE, $ALL, $ROOM, $ITEMS) = (5, 45, 12 << 20, 200);  # seconds for one piece and for all of them; bytes; containers
{% include "clock.pl" %}
my ($unix, $inet, $stream) = (1, 2, 1);
my ($units, $engine) = ("/run/systemd/units", "/var/run/docker.sock");
my $stopped = -d $units && !-l "$units/invocation:docker.service";
my ($began, %silent) = now();
binmode STDOUT;

sub left { my $left = $began + $ALL - now(); return $left < $PIECE ? $left : $PIECE }

sub ended { # Returns the exit code of a child. It may be stuck in the kernel, so this waits for a fifth of a second at most.
    my ($child) = @_;
    for (1 .. 20) {
        return $? >> 8 if waitpid($child, 1) > 0;  # WNOHANG
        select undef, undef, undef, 0.01;
    }
    return;
}

sub run { # Returns (state, text) of a command. It and its children end with this.
    my ($limit, $command) = @_;
    pipe my $out, my $in or return ("failed:pipe", "");
    my $child = fork // return ("failed:fork", "");
    if (!$child) {
        setpgrp;
        open STDIN, "<", "/dev/null";
        open STDOUT, ">&", $in;
        open STDERR, ">&", $in;
        exec "/bin/sh", "-c", $command or exit 127;
    }
    close $in;
    my ($text, $state, $until) = ("", "", now() + left());
    while (!$state) {
        my $wait = $until - now();
        my $ready = "";
        vec($ready, fileno $out, 1) = 1;
        if ($wait <= 0 || !select $ready, undef, undef, $wait) { $state = "late" }
        elsif (!sysread $out, $text, 65536, length $text) { last }
        elsif (length $text > $limit) { $state = "cut" }
    }
    my $code = $state ? undef : ended($child);
    kill "KILL", -$child;
    $code //= ended($child) // 0;
    return ($state || ($code == 127 ? "none" : $code ? "failed:$code" : "whole"), substr $text, 0, $limit);
}

sub ask { # Returns (state, body) of an answer.
    my ($limit, $where, $path) = @_;
    return ("skipped", "") if $silent{$where};
    return ("none", "") if $where eq $engine && $stopped;  # a request would start it
    my $body = "";
    eval {
        local $SIG{ALRM} = sub { die "late\n" };
        my $seconds = int left();
        alarm($seconds < 1 ? 1 : $seconds);
        my $to = $where =~ m{^/} ? pack("S a108", $unix, $where) : pack("S n a4 x8", $inet, $where, "\x7f\0\0\1");
        my $s;
        socket($s, $where =~ m{^/} ? $unix : $inet, $stream, 0) && connect($s, $to) or die "none\n";
        syswrite $s, "GET $path HTTP/1.0\r\nHost: localhost\r\n\r\n";
        while (sysread $s, $body, 65536, length $body) { die "cut\n" if length $body > $limit }
        alarm 0;
    };
    alarm 0;
    chomp(my $state = $@);
    $silent{$where} = 1 if $state eq "late";
    my $code = $body =~ s{\AHTTP/\S+ (\d+).*?\r\n\r\n}{}s ? $1 : 0;
    return ($state =~ /^(late|none|cut)$/ ? $1 : $code == 200 ? "whole" : "refused:$code", $code == 200 ? $body : "");
}

sub each_of {
    my ($limit, $where, $list, $path) = @_;
    my ($state, $found) = ask($limit, $where, $list);
    return ($state, "") unless $state eq "whole";
    my ($size, @answers) = (0);
    for my $id ($found =~ /"Id":"([0-9a-z]{25,64})"/g) {
        my $item = $path =~ s/\Q{}\E/$id/r;
        if (@answers >= $ITEMS || $size > $limit || left() <= 0) { $state = "cut"; last }
        my ($one, $answer) = ask($limit - $size, $where, $item);
        $state = $one if $one !~ /^(whole|refused)/;
        push @answers, $answer if length $answer && $one eq "whole";
        $size += length $answer;
    }
    return ($state, "[" . join(",", @answers) . "]");
}

for (@ARGV) {
    my ($name, $limit, $kind, $what) = split / /, $_, 4;
    my ($state, $text) = ("skipped", "");
    $limit = $ROOM if $limit > $ROOM;
    if (left() > 0 && $ROOM > 0) {
        ($state, $text) = $kind eq "run" ? run($limit, $what) : $kind eq "ask" ? ask($limit, split / /, $what) : each_of($limit, split / /, $what);
    }
    $ROOM -= length $text;
    print "$name $state ", length $text, "\n$text\n";
}
