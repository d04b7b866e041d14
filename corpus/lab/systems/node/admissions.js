'use strict';
// Nightly: clinic admissions from the hospital's API and the ward list into PostgreSQL.
const fs = require('node:fs');
const { setTimeout: pause } = require('node:timers/promises');
const Ajv = require('ajv');
const axios = require('axios');
const pino = require('pino');
const { parse } = require('csv-parse/sync');
const { Pool } = require('pg');

const log = pino({ name: 'admissions', level: process.env.LOG_LEVEL || 'info', base: { name: 'admissions' } }, pino.destination({ sync: true }));
const contract = JSON.parse(fs.readFileSync('admission.schema.json', 'utf8'));
const validate = new Ajv({ allErrors: true }).compile(contract);
const api = axios.create({
  baseURL: process.env.CLINIC_API,
  timeout: 1200,
  proxy: false,
  headers: { 'X-Api-Key': process.env.CLINIC_KEY },
});

async function getPage(cursor) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const { data } = await api.get('/admissions', { params: { cursor } });
      return data;
    } catch (err) {
      const status = err.response && err.response.status;
      log.warn({ attempt, cursor, status, code: err.code }, err.message);
      if (attempt === 3 || (status >= 400 && status < 429)) throw err;
      await pause(25 * attempt);
    }
  }
}

function wards() {
  const rows = parse(fs.readFileSync('wards.csv'), { columns: true, skip_empty_lines: true });
  log.info({ wards: rows.length, columns: Object.keys(rows[0]) }, 'read wards.csv');
  return rows;
}

async function load(client, page) {
  for (const item of page.items) {
    await client.query(
      'INSERT INTO clinic.admission (admission_no, ward_code, patient_ref, admitted_at, priority, note) VALUES ($1, $2, $3, $4, $5, $6)',
      [item.admissionNo, item.ward, item.patient && item.patient.ref, item.admittedAt, item.priority, item.note],
    );
  }
}

async function main() {
  const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 2, connectionTimeoutMillis: 2000 });
  const client = await pool.connect();
  log.info('connected to the warehouse');
  await client.query('BEGIN');
  for (const ward of wards()) {
    await client.query('INSERT INTO clinic.ward (code, title, beds) VALUES ($1, $2, $3) ON CONFLICT (code) DO UPDATE SET title = $2, beds = $3', [ward.code, ward.title, ward.beds]);
  }
  let loaded = 0;
  for (let cursor = '0'; cursor !== null; ) {
    const page = await getPage(cursor);
    const wrong = page.items.filter((item) => !validate(item));
    if (wrong.length > 0) {
      validate(wrong[0]);
      log.error({ cursor, wrong: wrong.length, of: page.items.length, errors: validate.errors }, 'page does not fit admission.schema.json');
      throw new Error(`${wrong.length} of ${page.items.length} admissions do not fit the schema: ${new Ajv().errorsText(validate.errors)}`);
    }
    log.debug({ item: page.items[0], notes: page.items.map((item) => item.note).filter(Boolean) }, 'page of %d admissions', page.items.length);
    await load(client, page);
    loaded += page.items.length;
    log.info({ cursor, loaded }, 'page loaded');
    cursor = page.next;
  }
  const { rows } = await client.query('SELECT w.title, count(*)::int AS admissions, round(100.0 * count(*) / w.beds) AS percent FROM clinic.admission a JOIN clinic.ward w ON w.code = a.ward_code GROUP BY w.title, w.beds ORDER BY 1');
  fs.writeFileSync('out/occupancy.json', JSON.stringify(rows));
  await client.query('COMMIT');
  log.info({ loaded, wards: rows.length }, 'committed');
  client.release();
  await pool.end();
}

main().catch((err) => {
  log.fatal({ err }, 'admissions failed');
  process.exit(1);
});
