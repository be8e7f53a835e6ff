{% include "ask.pl" %}
{% include "json.pl" %}
# Installs a plugin from a registry, disabled, if it requests no more privileges than it is granted. The tag's digest is resolved
# first: if the engine then pulls another digest, because the tag was moved meanwhile, the plugin is removed again. The engine
# also compares the privileges to grant with those of the pulled plugin (moby, plugin/backend_linux.go). The engine never gets a
# digest to pull, since engines of 20.10 panic then (plugin/fetch_linux.go, "not reference.Tagged"; tested with 20.10.5).
# Arguments: the plugin's local name, the image, and the granted privileges, or "all".
# Exit code 70: it was not installed, and standard error has the reason and the cure, as with `fail` of lib.sh.
my ($name, $image, @granted) = @ARGV;

sub stop { # WHAT CURE
    my @shown = @_;
    s/([^ -~])/sprintf "\\x%02x", ord $1/ge for @shown;
    print STDERR "provisioner: plugin-failed\t$shown[0]\t$shown[1]\n";
    exit 70;
}
sub engine { # METHOD PATH BODY SECONDS HEADERS
    my ($code, $said) = eval { ask(@_) };
    $said = $@ =~ s/\n$//r unless defined $code;
    return $said if defined $code && $code < 300 && $said !~ /"errorDetail":\s*\{[^}]*?"message":\s*"((?:[^"\\]|\\.)*)"/;
    stop("can't install the plugin $name: " . (defined $code && $code < 300 ? $1 : $said), "fix what the engine reports, and run again");
}
sub quoted { my ($word) = @_; $word =~ s/([^A-Za-z0-9._~-])/sprintf "%%%02X", ord $1/ge; return $word }
sub base64 { my ($text) = @_; my $done = pack "u", $text; $done =~ s/^.//mg; $done =~ s/\n//g; $done =~ tr{` -_}{AA-Za-z0-9+/}; return substr($done, 0, int((4 * length($text) + 2) / 3)) . "=" x (-length($text) % 3) }
sub plain { my ($text) = @_; $text =~ tr{A-Za-z0-9+/}{}cd; $text =~ tr{A-Za-z0-9+/}{ -_}; return join "", map { unpack "u", chr(32 + int(length($_) * 3 / 4)) . $_ } $text =~ /(.{1,60})/g }

# Finds credentials as `docker` does: in root's configuration, or by the helper that it names (docker/cli, cli/config).
sub password { # REGISTRY: user, password, token; nothing if there are none
    my ($registry) = @_;
    my $path = ($ENV{DOCKER_CONFIG} // ($ENV{HOME} // "/root") . "/.docker") . "/config.json";
    open my $file, "<", $path or return;
    my $kept = eval { json(do { local $/; <$file> }) } // return;
    my $helper = ($kept->{credHelpers} || {})->{$registry} || $kept->{credsStore};
    if ($helper && $helper =~ /^[\w.-]+$/) {
        require IPC::Open2;
        my $pid = eval { IPC::Open2::open2(my $from, my $to, "docker-credential-$helper", "get") or die; print $to $registry; close $to;
            local $/; $_[1] = <$from>; 1 };
        my $found = $pid && eval { json($_[1]) } or return;
        return $found->{Username} eq "<token>" ? ("", "", $found->{Secret}) : ($found->{Username}, $found->{Secret}, "");
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
    my %auth = (username => $user, password => $password, identitytoken => $token, serveraddress => $registry);
    my $json = join ",", map { my $value = $auth{$_}; $value =~ s/(["\\]|[\0-\x1f])/sprintf "\\u%04x", ord $1/ge; "\"$_\":\"$value\"" } sort keys %auth;
    return "X-Registry-Auth: " . (base64("{$json}") =~ tr{+/}{-_}r);
}

my @headers = headers();
my ($digest) = $image =~ /\@(sha256:[0-9a-f]{64})$/;
$image =~ s/\@.*//;
if (!$digest) {
    ($digest) = engine("GET", "/distribution/$image/json", "", 60, @headers) =~ /"digest":"(sha256:[0-9a-f]{64})"/
        or stop("the registry gives no digest for the plugin $image", "look at the registry, or name its digest too: NAME:TAG\@sha256:...");
}
my $wants = engine("GET", "/plugins/privileges?remote=" . quoted($image), "", 60, @headers);
my $list = eval { json($wants) };
stop("the engine does not list the privileges of the plugin $name", "look at its log: journalctl -u docker") if $@ || (defined $list && ref $list ne "ARRAY");
my %granted = map { $_ => 1 } @granted;
if (!$granted{all}) {
    my @more;
    for my $one (@{ $list // [] }) {
        my ($what, $values) = @$one{qw(Name Value)};
        push @more, grep { !$granted{$_} } map { $_ eq "true" ? $what : "$what $_" } @{ $values // [] };
    }
    stop("the plugin $name requests more than it is granted: " . join(", ", sort @more), "to allow this, add it to the plugin's grant in the inventory") if @more;
}
my $pulled = engine("POST", "/plugins/pull?remote=" . quoted($image) . "&name=" . quoted($name), $wants, 240, @headers);
if ($pulled !~ /"status":"Digest: \Q$digest\E"/) {
    engine("DELETE", "/plugins/" . quoted("$name:latest"), "", 30);
    stop("$image is no longer the plugin whose privileges were checked, $digest; it was not installed", "find out who moved the tag, and run again");
}
