# Parses JSON without modules, since perl-base has none for it. Strings are bytes of UTF-8; true and false are 1 and 0.
my %escaped = (n => "\n", t => "\t", r => "\r", b => "\b", f => "\f", '"' => '"', "\\" => "\\", "/" => "/");
sub text { # decodes the text between the quotes of a string
    my ($text) = @_;
    $text =~ s{\\(?:u([Dd][89ABab]..)\\u([Dd][C-Fc-f]..)|u([0-9A-Fa-f]{4})|(.))}{
        my $char = defined $4 ? $escaped{$4} // die "no JSON\n" : chr(defined $3 ? hex $3 : 0x10000 + ((hex($1) & 0x3ff) << 10) + (hex($2) & 0x3ff));
        utf8::encode($char) unless defined $4;
        $char
    }ges;
    return $text;
}
sub value { # parses a value of $_[0], at its current position
    for ($_[0]) {
        return text($1) if /\G\s*"((?:[^"\\]|\\.)*)"/gcs;
        return 0 + $1 if /\G\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)/gc;
        return {true => 1, false => 0, null => undef}->{$1} if /\G\s*(true|false|null)/gc;
        if (/\G\s*\[/gc) {
            return [] if /\G\s*\]/gc;
            my @list;
            do { push @list, scalar value($_) } while /\G\s*,/gc;
            return /\G\s*\]/gc ? \@list : die "no JSON\n";
        }
        /\G\s*\{/gc or die "no JSON\n";
        return {} if /\G\s*\}/gc;
        my %object;
        do { /\G\s*"((?:[^"\\]|\\.)*)"\s*:/gcs or die "no JSON\n"; my $key = text($1); $object{$key} = value($_) } while /\G\s*,/gc;
        return /\G\s*\}/gc ? \%object : die "no JSON\n";
    }
}
sub json { my ($text) = @_; my $value = value($text); $text =~ /\G\s*$/gc or die "no JSON\n"; return $value }
