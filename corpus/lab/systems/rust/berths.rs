//! Takes the port's calls of the week from the harbour service, several quays at a time, and writes the berth plan.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

#[derive(Clone, Debug)]
struct Call {
    vessel: String,
    hours: u32,
    draught: f32,
}

fn get(host: &str, path: &str) -> io::Result<(u16, String)> {
    let address = host.to_socket_addrs()?.next().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_millis(1500)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let (head, body) = reply.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, body.to_string()))
}

fn fetch(host: &str, quay: &str) -> String {
    let path = format!("/v1/calls/{quay}.csv");
    for attempt in 1..=3 {
        match get(host, &path) {
            Ok((200, body)) => {
                println!("DEBUG {quay}: 200, {} bytes", body.len());
                return body;
            }
            Ok((status, body)) => println!("WARN  {quay}: attempt {attempt}: {status} {}", body.trim()),
            Err(error) => println!("WARN  {quay}: attempt {attempt}: {error}"),
        }
        thread::sleep(Duration::from_millis(100 * attempt));
    }
    get(host, &path).map(|(status, body)| (status == 200).then(|| body)).unwrap().unwrap()
}

fn parse(text: &str) -> Vec<Call> {
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [_, vessel, hours, draught]: [&str; 4] = fields.try_into().unwrap();
            Call { vessel: vessel.to_string(), hours: hours.parse().unwrap(), draught: draught.parse().unwrap() }
        })
        .collect()
}

fn plan(calls: &[Call], repeat: usize) -> BTreeMap<String, (u32, f32)> {
    let all: Vec<Call> = calls.iter().cycle().take(calls.len() * repeat).cloned().collect();
    let mut plan = BTreeMap::new();
    for call in &all {
        let entry = plan.entry(call.vessel.clone()).or_insert((0, 0.0));
        entry.0 += call.hours;
        entry.1 = call.draught.max(entry.1);
    }
    plan
}

fn main() {
    let settings = fs::read_to_string("berths.conf").unwrap();
    let setting = |name: &str| {
        let line = settings.lines().find(|line| line.starts_with(name));
        line.unwrap().split_once('=').unwrap().1.trim().to_string()
    };
    let (host, weeks): (String, usize) = (setting("host"), setting("weeks").parse().unwrap());
    let quays: Vec<String> = setting("quays").split(' ').map(str::to_string).collect();
    println!("INFO  {} quays, {weeks} weeks, from {host}", quays.len());
    let loaders: Vec<_> = quays
        .iter()
        .map(|quay| {
            let (host, quay) = (host.clone(), quay.clone());
            let loader = thread::Builder::new().name(format!("loader-{quay}"));
            loader.spawn(move || parse(&fetch(&host, &quay))).expect("failed to spawn thread")
        })
        .collect();
    let mut calls = Vec::new();
    for loader in loaders {
        calls.extend(loader.join().unwrap());
    }
    println!("INFO  {} calls", calls.len());
    let plan = plan(&calls, weeks);
    fs::create_dir_all("out").unwrap();
    let lines: Vec<String> = plan.iter().map(|(vessel, (hours, draught))| format!("{vessel},{hours},{draught}")).collect();
    fs::write("out/plan.csv", lines.join("\n")).unwrap();
    println!("INFO  plan of {} vessels written", plan.len());
}
