<?php
// Imports the suppliers' price lists (XML and CSV) of a pharmacy into PostgreSQL.
declare(strict_types=1);
error_reporting(E_ALL);
ini_set('display_errors', 'stderr');
set_time_limit((int) getenv('STEP_SECONDS'));

function line(string $text): void { echo date('H:i:s'), " pricelist: $text\n"; }

function warehouse(): PDO
{
    $dsn = sprintf('pgsql:host=%s;port=%s;dbname=%s', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'));
    return new PDO($dsn, getenv('PGUSER'), getenv('PGPASSWORD'), [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

function fromXml(string $path): array
{
    $list = simplexml_load_file($path);
    $items = [];
    foreach ($list->item as $item) {
        $items[] = ['pzn' => (string) $item['pzn'], 'title' => (string) $item->title, 'price' => (string) $item->price, 'valid' => (string) $item->valid];
    }
    line("$path: " . count($items) . ' items, elements ' . implode(' ', array_keys((array) $list->item[0])));
    if (count($items) < 50) {
        throw new UnexpectedValueException("$path: " . count($items) . ' items, at least 50 expected');
    }
    return $items;
}

function fromCsv(string $path): array
{
    $file = fopen($path, 'r');
    $header = fgetcsv($file, null, ';');
    $items = [];
    while (($row = fgetcsv($file, null, ';')) !== false) {
        $items[] = array_combine($header, $row);
    }
    fclose($file);
    line("$path: " . count($items) . ' items, columns ' . implode(' ', $header));
    return $items;
}

function checkDigit(string $pzn): bool
{
    $sum = 0;
    foreach (str_split(substr($pzn, 0, 7)) as $at => $digit) {
        $sum += ($at + 1) * (int) $digit;
    }
    return $sum % 11 % 10 === (int) $pzn[7];
}

function upsert(PDO $db, array $items): void
{
    $put = $db->prepare('INSERT INTO price (pzn, title, price, valid_from) VALUES (:pzn, :title, :price, :valid)
        ON CONFLICT (pzn) DO UPDATE SET title = excluded.title, price = excluded.price, valid_from = excluded.valid_from');
    foreach ($items as $at => $item) {
        if (!checkDigit($item['pzn'])) {
            throw new DomainException("item $at: check digit of {$item['pzn']} is wrong");
        }
        $put->execute(['pzn' => $item['pzn'], 'title' => $item['title'], 'price' => $item['price'], 'valid' => $item['valid']]);
    }
}

try {
    $items = [...fromXml('lists/wholesale.xml'), ...fromCsv('lists/generic.csv')];
    $db = warehouse();
    $db->beginTransaction();
    upsert($db, $items);
    line(count($items) . ' prices upserted');
    $margin = $db->query('SELECT avg(p.price / s.cost) AS margin, count(*) AS items FROM price AS p JOIN stock AS s USING (pzn)')->fetch(PDO::FETCH_ASSOC);
    line(sprintf('margin %.3f over %d items', $margin['margin'], $margin['items']));
    $db->commit();
    $written = file_put_contents(getenv('LABELS'), implode("\n", array_map(fn (array $item): string => str_pad($item['title'], 200) . $item['price'], $items)));
    if ($written === false) {
        throw new RuntimeException('labels were not written');
    }
    line("labels: $written bytes");
} catch (Throwable $error) {
    line('import failed, nothing is committed');
    fwrite(STDERR, $error . "\n");
    exit(3);
}
