<?php
// Brings the channels' hotel bookings into the house's own store and writes the occupancy of the coming days.
declare(strict_types=1);

namespace Stay;

use DateTimeImmutable;
use JsonException;
use PDO;
use RuntimeException;

final readonly class Booking
{
    public function __construct(
        public int $bookingId,
        public string $room,
        public string $guest,
        public DateTimeImmutable $arrival,
        public int $nights,
        public float $price,
    ) {
    }

    public static function fromChannel(array $row): self
    {
        return new self($row['booking_id'], $row['room'], $row['guest'], new DateTimeImmutable($row['arrival']), $row['nights'], $row['price']);
    }
}

final class Channel
{
    public function __construct(private string $base, private string $key)
    {
    }

    public function bookings(): iterable
    {
        $cursor = '0';
        do {
            $page = $this->get("/bookings?cursor={$cursor}");
            info('cursor %s: %d bookings', $cursor, count($page['bookings']));
            yield from array_map(Booking::fromChannel(...), $page['bookings']);
            $cursor = $page['next'] ?? null;
        } while ($cursor !== null);
    }

    private function get(string $path, int $tries = 3): array
    {
        for ($try = 1; ; $try++) {
            $curl = curl_init($this->base . $path);
            curl_setopt_array($curl, [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT_MS => 1500, CURLOPT_HTTPHEADER => ["X-Api-Key: {$this->key}"]]);
            $body = curl_exec($curl);
            $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
            info('GET %s: %d %s, %d bytes', $path, $status, curl_getinfo($curl, CURLINFO_CONTENT_TYPE) ?: '-', strlen((string) $body));
            if ($status === 200 && $body !== false) {
                return json_decode($body, true, 32, JSON_THROW_ON_ERROR);
            }
            info('try %d of %d: %s', $try, $tries, $body === false ? curl_error($curl) : "status $status, " . strtok($body, "\n"));
            if ($try === $tries) {
                throw new RuntimeException("channel gave no answer to $path", $status);
            }
        }
    }
}

function info(string $format, mixed ...$values): void
{
    fwrite(STDERR, sprintf("[%s] stay.INFO: %s\n", date('c'), vsprintf($format, $values)));
}

function checkSchema(PDO $store, array $tables): void
{
    foreach ($tables as $table) {
        $columns = $store->query("SELECT name FROM pragma_table_info('{$table}')")->fetchAll(PDO::FETCH_COLUMN);
        info('%s (%s)', $table, implode(', ', $columns));
    }
}

function save(PDO $store, iterable $bookings): int
{
    $insert = $store->prepare('INSERT INTO booking (booking_id, room, guest, arrival, nights, price) VALUES (?, ?, ?, ?, ?, ?)');
    $store->beginTransaction();
    $count = 0;
    foreach ($bookings as $booking) {
        $insert->execute([$booking->bookingId, $booking->room, $booking->guest, $booking->arrival->format('Y-m-d'), $booking->nights, $booking->price]);
        $count++;
    }
    $store->commit();
    return $count;
}

function occupancy(PDO $store, int $days): array
{
    $calendar = [];
    foreach ($store->query('SELECT room, arrival, nights FROM booking') as $row) {
        $arrival = new DateTimeImmutable($row['arrival']);
        for ($night = 0; $night < $row['nights']; $night++) {
            $calendar[$arrival->modify("+{$night} days")->format('Y-m-d')][] = $row['room'];
        }
    }
    ksort($calendar);
    return array_slice($calendar, 0, $days);
}

$config = parse_ini_file('stay.ini', true, INI_SCANNER_TYPED);
ini_set('memory_limit', $config['limits']['memory']);
$store = new PDO($config['store']['dsn'], options: [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
checkSchema($store, ['booking', 'room']);
$channel = new Channel(getenv('CHANNEL_URL'), getenv('CHANNEL_KEY'));
info('%d bookings saved', save($store, $channel->bookings()));
$rooms = (int) $store->query('SELECT count(*) FROM room')->fetchColumn();
$report = fopen('out/occupancy.csv', 'w');
foreach (occupancy($store, $config['report']['days']) as $day => $taken) {
    fputcsv($report, [$day, count($taken), round(100 * count($taken) / $rooms, 1)]);
}
fclose($report);
info('occupancy written, peak memory %d kB', memory_get_peak_usage() / 1024);
