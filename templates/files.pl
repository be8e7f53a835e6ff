# Changes one file or folder, safely also where other users can write: it follows no symbolic link of theirs. Whatever they put in
# its place meanwhile is never written to, and keeps its owner and mode.
# It walks a path name by name, opens each folder without following a link, and enters it by its handle. It follows links only
# while only root can write every folder on the way ($shared is 0): nobody else can have created them, or can change them.
# A file is created under a new name, gets owner and mode by its handle, and is renamed. In a shared folder, a folder is created,
# or gets its mode, with the rights of the user that it is for; a folder of another user is refused.
# Arguments: WHAT PATH and more. Exit code 70: nothing was done, and standard error has the reason and the cure, as with `fail`.
use strict; use warnings;
use Fcntl;
use IO::Handle;
use Errno qw(ENOENT ENOTDIR EEXIST);

my ($what, $path, @more) = @ARGV;
my $largest = 4 << 20; # bytes of a file that is copied
my ($here, $shared, $writer); # the current folder, whether another user can write on the way to it, and which one
$SIG{XFSZ} = "IGNORE";
umask 0;

sub stop { # WHAT CURE ID
    print STDERR "provisioner: " . ($_[2] // "file-failed") . "\t$_[0]\t$_[1]\n";
    exit 70;
}
sub room { "look at the free space and the mount options: df " . ($here || "/") }
sub refuse { # NAME WHAT: stops, since NAME is something unexpected
    my ($name, $is) = @_;
    my $where = $shared ? " in a folder that $writer can write" : "";
    stop("$here/$name is $is$where; it was left unchanged", "find out who created it, remove it (rm $here/$name), and run again" .
        ($shared ? "; to keep files elsewhere, create the link in a folder that only root can write" : ""), "path-unsafe");
}
sub linked { refuse($_[0], "a symbolic link") if -l $_[0] }

sub folder { # NAME: opens a folder, but no symbolic link
    sysopen my $found, $_[0], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK or return;
    return $found;
}
sub enter {
    my ($folder, $name) = @_;
    chdir $folder or stop("can't enter $here/$name: $!", room());
    my ($mode, $user) = (stat $folder)[2, 4];
    if ($user || $mode & 022) {
        $shared = 1;
        $writer = $user ? "the user " . (getpwuid $user // $user) : "a user other than root";
    }
    $here .= "/$name" if $name ne "";
}
sub root { ($here, $shared) = ("", 0); enter(folder("/"), "") }

# Enters the folder of the path's last name, and returns that name. Creates missing folders, or without $make returns undef.
# whole: if the last name is a link, it is followed as well.
sub walk {
    my ($to, $make, $whole) = @_;
    my @names = grep { $_ ne "" && $_ ne "." } split m{/}, $to;
    my $links = 0;
    root();
    while (defined(my $name = shift @names)) {
        my $link = !$shared && (@names || $whole) ? readlink $name : undef;
        if (defined $link) {
            stop("$to leads through too many links", "fix the links") if ++$links > 40;
            unshift @names, grep { $_ ne "" && $_ ne "." } split m{/}, $link;
            root() if $link =~ m{^/};
            next;
        }
        return $name unless @names;
        refuse($name, "the parent folder") if $name eq ".." && $shared;
        my $next = folder($name);
        return if !$next && !$make && $!{ENOENT};
        $next ||= folder($name) if !$next && $!{ENOENT} && (mkdir($name, 0755) || $!{EEXIST});
        if (!$next) {
            my $why = "$!";
            linked($name);
            stop("can't create the folder $here/$name: $why", "look at its file system");
        }
        enter($next, $name);
    }
    stop("$to is not the path of a file", "fix the path");
}

sub ids { # "USER:GROUP", names or numbers
    my ($user, $group) = split /:/, $_[0];
    my @ids = (scalar getpwnam $user, scalar getgrnam $group);
    for ([0, $user], [1, $group]) { $ids[$_->[0]] //= $_->[1] if $_->[1] =~ /^\d+$/ }
    return @ids;
}
sub octal { $_[0] =~ /^[0-7]{3,4}$/ ? oct $_[0] : undef }

my ($new, $wrong); # the temporary file, and what is wrong with its content

sub put { # NAME TEXT MODE USER GROUP TIME: writes all or nothing. TEXT may be a function that writes to a handle; true: it did
    my ($name, $text, $mode, $user, $group, $time) = @_;
    my $file;
    # Only one script at a time writes on a host, so these are from one that was killed, or that a power cut interrupted.
    if (opendir my $names, ".") { unlink grep { /^\.provisioner\.(?:[a-z0-9]{12}|[A-Za-z0-9]{8})\z/ } readdir $names }
    for (1 .. 9) {
        $new = ".provisioner." . join "", map { ("a" .. "z", 0 .. 9)[rand 36] } 1 .. 12;
        last if sysopen $file, $new, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600;
        last unless $!{EEXIST};
    }
    my $known = defined $mode && defined $user && defined $group;
    $! = 0 if $file && !$known;
    my $done = $file && $known
        && (ref $text ? $text->($file) : print {$file} $text) && $file->flush && chown($user, $group, $file) && chmod($mode, $file)
        && (!$time || utime $time, $time, $file) && $file->sync && close($file) && rename $new, $name;
    if (!$done) {
        my $why = $wrong // ($! ? "$!" : "its owner or mode is invalid");
        if ($file) { close $file; unlink $new }
        stop("can't write $here/$name: $why; the old file is unchanged", room());
    }
    if (my $folder = folder(".")) { $folder->sync }
}

sub taken { # NAME: a file's content, mode, user, group and time; nothing if it does not exist
    my ($name) = @_;
    my $file;
    if (!sysopen $file, $name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) {
        return if $!{ENOENT};
        my $why = "$!";
        linked($name);
        stop("can't read $here/$name: $why", "look at its file system");
    }
    my @is = stat $file;
    refuse($name, "not a regular file") unless -f _;
    my $read = read $file, my $text, $largest + 1;
    stop("can't read $here/$name: $!", "look at its file system") unless defined $read;
    refuse($name, "a file of more than 4 MiB") if $read > $largest;
    return ($text, $is[2] & 0777, @is[4, 5, 9]);
}

sub sent { # decodes standard input: base64, and a dot that shows that it is complete
    local $/;
    my ($text, $whole) = (<STDIN> // "") =~ m{^((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)(\.)$};
    stop("can't write $path: its text arrived incomplete; the old file is unchanged", "run again") unless $whole;
    $text =~ tr{=}{}d;
    $text =~ tr{A-Za-z0-9+/}{ -_}; # to uuencode, which perl decodes without a module
    return join "", map { unpack "u", chr(32 + int(length($_) * 3 / 4)) . $_ } $text =~ /(.{1,60})/g;
}

sub received { # FILE SIZE SUM: copies SIZE bytes of standard input; true if their SHA-256 sum is SUM
    my ($file, $size, $sum) = @_;
    while ($size > 0) {
        my $read = sysread STDIN, my $part, $size < 1 << 20 ? $size : 1 << 20;
        return unless defined $read;
        last unless $read;
        print {$file} $part or return;
        $size -= $read;
    }
    $file->flush && open(STDIN, "<&", $file) && sysseek(STDIN, 0, 0) or return;
    my ($found) = qx(sha256sum) =~ /^([0-9a-f]+)/;
    $wrong = "the checksum of the received data is " . ($found // "unknown") if ($found // "") ne lc $sum;
    return !defined $wrong;
}

sub become { # USER GROUP: drops all other rights for good
    my ($user, $group) = @_;
    return if $>; # not root: a test
    $( = $group; $) = "$group $group";
    $< = $user; $> = $user;
    $< == $user && $> == $user && $) =~ /^$group( $group)*$/ or stop("can't act as the user $user", "run it as root");
}
sub owned { # NAME MODE USER GROUP: gives an existing folder its owner and mode
    my ($name, $mode, $user, $group) = @_;
    my ($found, $why) = (scalar folder($name), "$!");
    linked($name) unless $found;
    my @is = $found ? stat $found : lstat $name or stop("can't create the folder $here/$name: $why", "look at its file system");
    my $same = $is[4] == $user && $is[5] == $group;
    return if $found && $same && ($is[2] & 07777) == $mode;
    if ($shared && !($user && $same)) {
        my $other = (getpwuid $is[4] // $is[4]) . ":" . (getgrgid $is[5] // $is[5]);
        stop("$here/$name belongs to $other, in a folder that $writer can write; it was left unchanged",
            "find out what it is; move it away, or give it to $more[1] (chown -h), and run again", "path-unsafe");
    }
    $found && ($same || chown $user, $group, $found) && chmod $mode, $found
        or stop("can't give the folder $here/$name its owner and mode: " . ($found ? $! : $why), "look at its file system");
}
sub gone { # PATH
    my $name = walk($_[0]) // return;
    unlink $name or $!{ENOENT} or stop("can't remove $here/$name: $!", "look at its file system");
}

my %do = (
    # PATH MODE OWNER; standard input has the text, in base64
    put => sub {
        my ($mode, $owner) = @more;
        my $text = sent();
        put(scalar walk($path, 1), $text, octal($mode), ids($owner));
    },
    # PATH MODE SIZE SUM; standard input has a large file. Its owner becomes root. An interrupted transfer leaves nothing.
    receive => sub {
        my ($mode, $size, $sum) = @more;
        my $name = walk($path) // stop("can't write $path: its folder does not exist", "create the folder, and run again");
        $SIG{$_} = sub { unlink $new if defined $new; exit 1 } for qw(HUP INT PIPE TERM);
        put($name, sub { received($_[0], $size, $sum) }, octal($mode), $>, $) + 0);
    },
    # FROM TO ...: copies with owner, mode and time. If FROM does not exist, TO is removed.
    copy => sub {
        my @pairs = ($path, @more);
        while (my ($from, $to) = splice @pairs, 0, 2) {
            my $name = walk($from, 0, 1);
            my ($text, @is) = defined $name ? taken($name) : ();
            defined $text ? put(scalar walk($to, 1), $text, @is) : gone($to);
        }
    },
    # PATH ...
    remove => sub { gone($_) for grep { defined } $path, @more },
    # PATH NAME: renames within the folder, where NAME must not exist
    rename => sub {
        my ($to, $name) = ($more[0], walk($path) // return);
        stop("can't move $here/$name away: $to exists", "remove it, and run again") if lstat $to;
        rename $name, $to or stop("can't move $here/$name away: $!", "look at its file system");
    },
    # RECORD KIND NAME HOW ...: adds a line for each thing that has none yet. "folder" is recorded if the folder is missing,
    # "mode" with its mode and owner if it exists. Only root can read the record. Its first line says whether an earlier
    # version, which kept no record, set this host up.
    note => sub {
        my ($dir) = $path =~ m{^(/.+)/} or die "files: $path";
        mkdir $dir, 0700 or $!{EEXIST} or stop("can't create $dir: $!", "look at its file system");
        my $name = walk($path);
        refuse($name, "a record") if $shared; # another user could have written it
        my ($text) = taken($name);
        $text = "begun\t-\t" . (-e "/etc/provisioner" ? "earlier" : "fresh") . "\n" unless length($text // "");
        my $before = $text;
        my %known = map { (join "\t", (split /\t/)[0, 1]) => 1 } split /\n/, $text;
        while (my ($kind, $thing, $how) = splice @more, 0, 3) {
            next if $kind eq "folder" && -e $thing || $kind eq "mode" && !-d $thing;
            $how = sprintf "%o %d:%d", (stat _)[2] & 07777, (stat _)[4, 5] if $kind eq "mode";
            stop("can't record '$thing' in $path: it has a tab or a newline", "change the name") if "$kind$thing$how" =~ /[\t\n]/;
            $text .= "$kind\t$thing\t$how\n" unless $known{"$kind\t$thing"}++;
        }
        put($name, $text, 0600, 0, 0) if $text ne $before || !lstat $name;
    },
    # RECORD KIND ...: removes the lines of these kinds, and then an empty record.
    forget => sub {
        my $name = walk($path) // return;
        my %done = map { $_ => 1 } @more;
        my ($text) = taken($name);
        my @lines = grep { !$done{(split /\t/)[0]} } split /\n/, $text // return;
        return put($name, join("", map { "$_\n" } @lines), 0600, 0, 0) if grep { !/^begun\t/ } @lines;
        gone($path);
        rmdir $here;
    },
    # PATH MODE OWNER
    folder => sub {
        my ($mode, $user, $group) = (octal($more[0]), ids($more[1]));
        defined $mode && defined $user && defined $group
            or stop("can't create the folder $path: its owner or mode is invalid ($more[1])", "create that user and its group");
        my $name = walk($path, 1, 1);
        become($user, $group) if $shared;
        mkdir $name, $shared ? $mode : 0700 unless lstat $name;
        owned($name, $mode, $user, $group);
    },
);
($do{$what} || sub { die "files: $what" })->();
