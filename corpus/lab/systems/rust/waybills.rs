//! Prices the waybills of one day with the carrier's tariff.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::time::{SystemTime, UNIX_EPOCH};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ZONE: std::ops::Range<usize> = 0..4;
const SERVICE: std::ops::Range<usize> = 4..10;
const CENTS_PER_KG: std::ops::Range<usize> = 10..18;

struct Waybill {
    number: String,
    zone: String,
    service: String,
    gross_kg: f64,
    pieces: u32,
}

fn info(target: &str, message: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 86_400;
    eprintln!("[{:02}:{:02}:{:02}Z INFO  waybills::{target}] {message}", now / 3600, now / 60 % 60, now % 60);
}

fn read_tariff(path: &str) -> Outcome<HashMap<(String, String), u64>> {
    let text = fs::read_to_string(path)?;
    let width = text.lines().next().map_or(0, str::len);
    info("tariff", &format!("{path}: {} records of {width} bytes, layout has {}", text.lines().count(), CENTS_PER_KG.end));
    let mut tariff = HashMap::new();
    for (at, record) in text.lines().enumerate() {
        let cents = record[CENTS_PER_KG].trim().parse::<u64>().map_err(|e| format!("{path} record {}: {record:?}: {e}", at + 1))?;
        tariff.insert((record[ZONE].trim().to_string(), record[SERVICE].trim().to_string()), cents);
    }
    Ok(tariff)
}

fn position(header: &[&str], name: &str) -> Outcome<usize> {
    header.iter().position(|h| *h == name).ok_or_else(|| format!("no field {name} in {header:?}").into())
}

fn read_waybills(path: &str) -> Outcome<Vec<Waybill>> {
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(';').collect();
    let (number, zone, service) = (position(&header, "waybill")?, position(&header, "zone")?, position(&header, "service")?);
    let (gross_kg, pieces) = (position(&header, "gross_kg")?, position(&header, "pieces")?);
    let mut waybills = Vec::new();
    for (at, line) in lines.enumerate() {
        let fields: Vec<&str> = line.split(';').collect();
        let context = |e: &dyn Error| format!("{path}:{}: {e}", at + 2);
        waybills.push(Waybill {
            number: fields[number].to_string(),
            zone: fields[zone].to_string(),
            service: fields[service].to_string(),
            gross_kg: fields[gross_kg].parse().map_err(|e| context(&e))?,
            pieces: fields[pieces].parse().map_err(|e| context(&e))?,
        });
    }
    info("read", &format!("{path}: {} waybills", waybills.len()));
    Ok(waybills)
}

fn check_schema(waybills: &[Waybill]) -> usize {
    let mut breaks = 0;
    for at in 1..waybills.len() {
        if waybills[at].number < waybills[at - 1].number {
            breaks += 1;
        }
    }
    info("check", &format!("{breaks} waybills out of order"));
    breaks
}

fn price(waybills: &[Waybill], tariff: &HashMap<(String, String), u64>) -> Outcome<BTreeMap<String, u64>> {
    let mut invoice = BTreeMap::new();
    for bill in waybills {
        let key = (bill.zone.clone(), bill.service.clone());
        let cents = tariff.get(&key).ok_or_else(|| format!("waybill {}: no tariff for {key:?}", bill.number))?;
        let amount = (bill.gross_kg * *cents as f64) as u64 + 150 * u64::from(bill.pieces);
        invoice.insert(bill.number.clone(), amount);
    }
    info("price", &format!("{} invoice lines", invoice.len()));
    Ok(invoice)
}

fn write_invoice(invoice: &BTreeMap<String, u64>) -> Outcome<()> {
    fs::create_dir_all("out")?;
    let mut out = BufWriter::new(File::create("out/invoice.csv")?);
    for (number, cents) in invoice {
        writeln!(out, "{number};{}.{:02};EUR;freight and handling of the day", cents / 100, cents % 100)?;
    }
    out.flush()?;
    info("write", "out/invoice.csv done");
    Ok(())
}

fn main() -> Outcome<()> {
    let year = std::env::var("TARIFF_YEAR").expect("TARIFF_YEAR");
    info("main", &format!("pricing with the tariff of {year}"));
    let tariff = read_tariff(&format!("tariff-{year}.dat"))?;
    let waybills = read_waybills("waybills.csv")?;
    check_schema(&waybills);
    let announced: usize = fs::read_to_string("waybills.ctl")?.trim().parse()?;
    assert_eq!(announced, waybills.len());
    let invoice = price(&waybills, &tariff)?;
    write_invoice(&invoice)
}
