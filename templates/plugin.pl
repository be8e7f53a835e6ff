{% include "ask.pl" %}
{% include "json.pl" %}
# Has the engine install a plugin of a registry, turned off, where it asks for no more than it is granted. What its tag stands for
# is asked first: where the engine has pulled another digest, because the tag was moved meanwhile, the plugin is removed again. The
# engine compares what it is told to grant with what it pulls as well (moby, plugin/backend_linux.go). It is never asked by digest:
# engines of 20.10 end with a panic then (plugin/fetch_linux.go, "not reference.Tagged"; tried with 20.10.5).
# Arguments: the name that it gets here, the image, and what is granted, or "all".
# Exit code 70: it is not installed, and standard error tells why and what to do, as `fail` of lib.sh does.
my ($name, $image, @granted) = @ARGV;

sub stop { # WHAT CURE
    my @told = @_;
    s/([^ -~])/sprintf "\\x%02x", ord $1/ge for @told;
    print STDERR "provisioner: $told[0]\t$told[1]\n";
    exit 70;
}
sub engine { # METHOD PATH BODY SECONDS HEADERS
    my ($code, $said) = eval { ask(@_) };
    $said = $@ =~ s/\n$//r unless defined $code;
    return $said if defined $code && $code < 300 && $said !~ /"errorDetail":\s*\{[^}]*?"message":\s*"((?:[^"\\]|\\.)*)"/;
    stop("can't install the plugin $name: " . (defined $code && $code < 300 ? $1 : $said), "mend what the engine says, and run again");
}
sub quoted { my ($word) = @_; $word =~ s/([^A-Za-z0-9._~-])/sprintf "%%%02X", ord $1/ge; return $word }
sub base64 { my ($text) = @_; my $done = pack "u", $text; $done =~ s/^.//mg; $done =~ s/\n//g; $done =~ tr{` -_}{AA-Za-z0-9+/}; return substr($done, 0, int((4 * length($text) + 2) / 3)) . "=" x (-length($text) % 3) }
sub plain { my ($text) = @_; $text =~ tr{A-Za-z0-9+/}{}cd; $text =~ tr{A-Za-z0-9+/}{ -_}; return join "", map { unpack "u", chr(32 + int(length($_) * 3 / 4)) . $_ } $text =~ /(.{1,60})/g }

# As `docker` finds it: in root's settings, or by a helper that is named there (docker/cli, cli/config).
sub password { # REGISTRY: user, password, token; nothing where none is kept
    my ($registry) = @_;
    my $path = ($ENV{DOCKER_CONFIG} // ($ENV{HOME} // "/root") . "/.docker") . "/config.json";
    open my $file, "<", $path or return;
    my $kept = eval { json(do { local $/; <$file> }) } // return;
    my $helper = ($kept->{credHelpers} || {})->{$registry} || $kept->{credsStore};
    if ($helper && $helper =~ /^[\w.-]+$/) {
        require IPC::Open2;
        my $pid = eval { IPC::Open2::open2(my $from, my $to, "docker-credential-$helper", "get") or die; print $to $registry; close $to;
            local $/; $_[1] = <$from>; 1 };
        my $told = $pid && eval { json($_[1]) } or return;
        return $told->{Username} eq "<token>" ? ("", "", $told->{Secret}) : ($told->{Username}, $told->{Secret}, "");
    }
    my $auths = $kept->{auths} || {};
    my ($key) = grep { (s{^https?://}{}r =~ s{/.*}{}r) eq $registry } sort keys %$auths;
    my $entry = $auths->{$registry} || $auths->{$key // ""} || return;
    my ($user, $password) = split /:/, plain($entry->{auth} // ""), 2;
    return ($user // "", ($password // "") =~ s/\0+$//r, $entry->{identitytoken} // "");
}
sub headers {
    my ($first, $rest) = split m{/}, $image, 2;
    my $registry = defined $rest && $first =~ /[.:]|^localhost$/ ? $first : "https://index.docker.io/v1/";
    my ($user, $password, $token) = password($registry) or return;
    my %told = (username => $user, password => $password, identitytoken => $token, serveraddress => $registry);
    my $json = join ",", map { my $value = $told{$_}; $value =~ s/(["\\]|[\0-\x1f])/sprintf "\\u%04x", ord $1/ge; "\"$_\":\"$value\"" } sort keys %told;
    return "X-Registry-Auth: " . (base64("{$json}") =~ tr{+/}{-_}r);
}

my @headers = headers();
my ($digest) = $image =~ /\@(sha256:[0-9a-f]{64})$/;
$image =~ s/\@.*//;
if (!$digest) {
    ($digest) = engine("GET", "/distribution/$image/json", "", 60, @headers) =~ /"digest":"(sha256:[0-9a-f]{64})"/
        or stop("the registry does not tell which plugin $image is", "look at the registry, or name its digest too: NAME:TAG\@sha256:...");
}
my $wants = engine("GET", "/plugins/privileges?remote=" . quoted($image), "", 60, @headers);
my $list = eval { json($wants) };
stop("the engine does not tell what the plugin $name asks for", "look at its log: journalctl -u docker") if $@ || (defined $list && ref $list ne "ARRAY");
my %granted = map { $_ => 1 } @granted;
if (!$granted{all}) {
    my @more;
    for my $one (@{ $list // [] }) {
        my ($what, $values) = @$one{qw(Name Value)};
        push @more, grep { !$granted{$_} } map { $_ eq "true" ? $what : "$what $_" } @{ $values // [] };
    }
    stop("the plugin $name asks for what it is not granted: " . join(", ", sort @more), "if it may, add that to its grant in the inventory") if @more;
}
my $pulled = engine("POST", "/plugins/pull?remote=" . quoted($image) . "&name=" . quoted($name), $wants, 240, @headers);
if ($pulled !~ /"status":"Digest: \Q$digest\E"/) {
    engine("DELETE", "/plugins/" . quoted("$name:latest"), "", 30);
    stop("$image is not the plugin that was asked about, $digest: it is not installed", "see who moved the tag, and run again");
}
