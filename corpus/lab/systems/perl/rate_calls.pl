#!/usr/bin/perl
# Rates the exchanges' call records against the tariffs and books them in the billing database.
use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));
use DBI;
use JSON;
use LWP::UserAgent;
use POSIX qw(strftime ceil);
use Text::CSV;

$| = 1;
my $agent = LWP::UserAgent->new(timeout => 2, agent => 'rate_calls/3.2');

sub note { print strftime('%Y-%m-%d %H:%M:%S', gmtime), " rate_calls[$$] ", sprintf(shift, @_), "\n" }

sub fetch_tariffs {
    my ($url, $attempts) = @_;
    for my $attempt (1 .. $attempts) {
        my $response = $agent->get($url, Authorization => "Bearer $ENV{TARIFF_TOKEN}");
        return decode_json($response->content)->{tariffs} if $response->is_success;
        note('tariffs: attempt %d of %d: %s', $attempt, $attempts, $response->status_line);
        note('tariffs: %s', substr($response->decoded_content // '', 0, 200));
        die "tariffs are not available\n" if $attempt == $attempts or $response->code =~ /^4/ && $response->code != 429;
    }
}

sub check_schema {
    my ($dbh, %tables) = @_;
    while (my ($table, $least) = each %tables) {
        my ($columns) = $dbh->selectrow_array('SELECT count(*) FROM information_schema.columns WHERE table_name = ?', undef, $table);
        note('table %s: %d columns', $table, $columns);
    }
}

sub read_records {
    my ($path) = @_;
    my $csv = Text::CSV->new({ binary => 1, auto_diag => 2, sep_char => ';' });
    open my $file, '<:encoding(UTF-8)', $path or die "cannot open $path: $!\n";
    my @header = $csv->header($file);
    my @records;
    while (my $record = $csv->getline_hr($file)) { push @records, $record }
    note('%s: %d records (%s)', $path, scalar @records, join ' ', @header);
    return @records;
}

sub rate {
    my ($record, $tariffs) = @_;
    my $tariff = $tariffs->{ $record->{zone} };
    my $minutes = ceil($record->{duration_s} / 60);
    $record->{cents} = $tariff->{setup} + $minutes * $tariff->{per_minute};
    return $record;
}

sub stage {
    my ($dbh, @records) = @_;
    $dbh->do('CREATE TEMPORARY TABLE staged (call_id text, msisdn text, started text, duration_s text, cents text)');
    $dbh->do("COPY staged FROM STDIN WITH (FORMAT csv, DELIMITER ';')");
    for my $record (@records) {
        $dbh->pg_putcopydata(join(';', map { $_ // '' } @$record{qw(call_id msisdn started duration_s cents)}) . "\n");
    }
    $dbh->pg_putcopyend();
    note('staged %d records', scalar @records);
}

sub book {
    my ($dbh) = @_;
    my $booked = $dbh->do(q{
        INSERT INTO call (call_id, subscriber_id, started_at, duration_s, cents)
        SELECT s.call_id::bigint, u.subscriber_id, s.started::timestamptz, s.duration_s::int, s.cents::numeric(10, 2)
        FROM staged AS s JOIN subscriber AS u ON u.msisdn = s.msisdn
    });
    note('booked %d calls', $booked);
    my $bills = $dbh->do(q{
        UPDATE bill SET cents = bill.cents + day.cents, calls = bill.calls + day.calls
        FROM (SELECT subscriber_id, sum(cents) AS cents, count(*) AS calls FROM call GROUP BY subscriber_id) AS day
        WHERE day.subscriber_id = bill.subscriber_id
    });
    note('updated %d bills', $bills);
}

sub export {
    my ($dbh, $path) = @_;
    my $rows = $dbh->selectall_arrayref('SELECT u.operator, count(*), sum(c.cents), sum(c.cents) / sum(c.duration_s) FROM call AS c JOIN subscriber AS u USING (subscriber_id) GROUP BY 1 ORDER BY 1');
    open my $out, '>', $path or die "cannot write $path: $!\n";
    print {$out} join(';', @$_), "\n" for @$rows;
    close $out or die "cannot write $path: $!\n";
    note('%s: %d operators', $path, scalar @$rows);
}

my $tariffs = fetch_tariffs("$ENV{TARIFF_URL}/tariffs", 3);
note('%d tariffs: %s', scalar keys %$tariffs, join ' ', map { "$_=" . encode_json($tariffs->{$_}) } sort keys %$tariffs) if $ENV{VERBOSE};
my $dbh = DBI->connect('dbi:Pg:', undef, undef, { RaiseError => 1, PrintError => 0, AutoCommit => 0 });
check_schema($dbh, call => 5, bill => 3);
my @records = map { read_records($_) } sort glob 'cdr/*.csv';
die sprintf("%d records are too few for a day, at least %d expected\n", scalar @records, $ENV{LEAST}) if @records < $ENV{LEAST};
stage($dbh, map { rate($_, $tariffs) } @records);
book($dbh);
export($dbh, 'out/operators.csv');
$dbh->commit;
$dbh->disconnect;
note('done');
