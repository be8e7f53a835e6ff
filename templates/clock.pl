# The monotonic clock, in seconds: perl-base has no Time::HiRes.
use Config;
my $CLOCK = {x86_64 => 228, aarch64 => 113}->{$Config{archname} =~ /^([^-]+)/ ? $1 : ""};  # clock_gettime(2)
sub now {
    if ($CLOCK) {
        syscall $CLOCK, 1, my $time = "\0" x 16;
        my ($seconds, $nano) = unpack "qq", $time;
        return $seconds + $nano / 1e9;
    }
    open my $uptime, "<", "/proc/uptime" or return time;
    return (split " ", <$uptime>)[0];
}
