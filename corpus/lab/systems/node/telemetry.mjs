// Sum up the charging stations' telemetry of one day into one file per hour.
import { createReadStream, createWriteStream, mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { createInterface } from 'node:readline';

const say = (text) => console.log(`${new Date().toISOString()} [telemetry] ${text}`);

async function stations() {
  const response = await fetch(`${process.env.STATIONS_URL}/stations.json`, { signal: AbortSignal.timeout(1500) });
  if (!response.ok) throw new Error(`stations: HTTP ${response.status}`, { cause: await response.text() });
  const list = await response.json();
  say(`stations.json: ${list.length} entries, first ${JSON.stringify(list[0])}`);
  return new Map(list.map((station) => [station.id, station]));
}

async function readings(known) {
  const kept = [];
  const lines = createInterface({ input: createReadStream('telemetry.ndjson.gz').pipe(createGunzip()) });
  let number = 0;
  for await (const line of lines) {
    number += 1;
    const reading = JSON.parse(line);
    const station = known.get(reading.station);
    if (!station) throw new Error(`line ${number}: no station ${reading.station}`);
    const watts = reading.volt * reading.ampere * station.phases.length;
    if (!Number.isFinite(watts)) {
      throw new RangeError(`line ${number}: ${JSON.stringify(reading)} gives ${watts} W`);
    }
    kept.push({ hour: new Date(reading.at).toISOString().slice(0, 13), watts, raw: line });
    if (number % 500 === 0) say(`${number} readings`);
  }
  return kept;
}

async function write(kept) {
  mkdirSync('hours', { recursive: true });
  const files = new Map();
  for (const { hour, watts } of kept) {
    if (!files.has(hour)) files.set(hour, createWriteStream(`hours/${hour}.txt`));
    files.get(hour).write(`${watts.toFixed(1)}\n`);
  }
  for (const file of files.values()) file.end();
  await Promise.all([...files.values()].map((file) => finished(file)));
  say(`${files.size} hours written`);
}

const limits = JSON.parse(await readFile('limits.json', 'utf8'));
const known = await stations();
say(`${known.size} stations, at most ${limits.maximum_memory} readings in memory`);
const kept = await readings(known);
if (kept.length < limits.least_readings) throw new Error(`${kept.length} readings, expected at least ${limits.least_readings}`);
await write(kept);
