#!/usr/bin/perl
# Turns the fire stations' shift plans into one roster and a fixed-width file for payroll.
use v5.36;
use DBI;
use Encode qw(decode FB_CROAK);
use JSON;
use List::Util qw(sum max);
use Time::Piece;
use Log::Log4perl ();

Log::Log4perl->init('log4perl.conf');
my $log = Log::Log4perl->get_logger('roster');
$SIG{__WARN__} = sub ($text) { chomp $text; $log->warn($text) };
$SIG{__DIE__} = sub ($text) { return if $^S; chomp $text; $log->logdie($text) };

$log->info('settings: roster.json');
my $settings = decode_json(do { local (@ARGV, $/) = 'roster.json'; <> });
my $store = DBI->connect("dbi:SQLite:dbname=$settings->{store}", '', '', { RaiseError => 1, PrintError => 0, sqlite_see_if_its_a_number => 1 });

sub plan ($path) {
    open my $file, '<:raw', $path or die "plan $path: $!";
    my @shifts;
    while (my $line = <$file>) {
        chomp $line;
        $log->info("$path starts with: $line") if $. == 1;
        my ($badge, $name, $from, $to, $grade) = unpack 'A6 A20 A16 A16 A2', decode('UTF-8', $line, FB_CROAK);
        my ($begin, $end) = map { Time::Piece->strptime($_, '%Y-%m-%dT%H:%M') } $from, $to;
        push @shifts, { badge => $badge, name => $name, begin => $begin, hours => ($end - $begin)->hours, grade => $grade };
    }
    $log->info(sprintf '%s: %d shifts, %.1f hours', $path, scalar @shifts, sum map { $_->{hours} } @shifts);
    return @shifts;
}

sub grades () {
    my $rows = $store->selectall_hashref('SELECT grade, rate, overtime FROM pay_grade', 'grade');
    $log->info(sprintf 'pay grades: %s', join ', ', sort keys %$rows);
    return $rows;
}

sub pay ($shift, $grades) {
    my $grade = $grades->{ $shift->{grade} };
    my $over = max(0, $shift->{hours} - 12);
    return $shift->{hours} * $grade->{rate} + $over * $grade->{rate} * $grade->{overtime};
}

my $grades = grades();
my @shifts = map { plan($_) } sort glob "$settings->{plans}/*.txt";
my $insert = $store->prepare('INSERT INTO shift (badge, begins, hours, pay) VALUES (?, ?, ?, ?)');
$store->begin_work;
for my $shift (@shifts) {
    $insert->execute($shift->{badge}, $shift->{begin}->datetime, $shift->{hours}, pay($shift, $grades));
}
$store->commit;
$log->info(sprintf '%d shifts stored', scalar @shifts);
my %hours;
push @{ $hours{ $_->{badge} } }, $_->{hours} for @shifts;
my ($busiest) = sort { sum(@{ $hours{$b} }) <=> sum(@{ $hours{$a} }) } keys %hours;
$log->info(sprintf 'busiest badge %s with %.1f hours, %.2f shifts a head', $busiest, sum(@{ $hours{$busiest} }), @shifts / keys %hours);
open my $out, '>', $settings->{payroll} or die "payroll $settings->{payroll}: $!";
printf {$out} "%-6s%08.2f%-240s\n", $_, sum(@{ $hours{$_} }), 'regular' for sort keys %hours;
close $out or die "payroll $settings->{payroll}: $!";
$log->info("payroll file $settings->{payroll} written");
