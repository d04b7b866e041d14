"""The healthy worlds of the two programs, and the server that each run got."""

from __future__ import annotations

from corpus.lab.bench import Bench
from corpus.lab.case import Program
from corpus.lab.services import mariadb

BRANCHES = """
CREATE DATABASE branches; USE branches;
CREATE TABLE loans (loan_id INT PRIMARY KEY, branch_id INT, patron_no VARCHAR(12), title VARCHAR(200),
  due_on DATE, returned_on DATE) DEFAULT CHARSET utf8mb4;
INSERT INTO loans SELECT seq, seq MOD 8 + 1, CONCAT('P', 1000 + seq MOD 90), CONCAT('Volume ', seq),
  '2026-04-01' + INTERVAL seq MOD 20 DAY, '2026-04-12' + INTERVAL seq MOD 9 DAY FROM seq_1_to_640;
"""
WAREHOUSE = """
CREATE DATABASE library DEFAULT CHARSET utf8mb4; USE library;
CREATE TABLE branch (branch_id INT PRIMARY KEY, name VARCHAR(40), daily_fee DECIMAL(4,2) NOT NULL);
INSERT INTO branch SELECT seq, CONCAT('Branch ', seq), 0.20 + seq / 100 FROM seq_1_to_8;
CREATE TABLE patron (patron_no VARCHAR(12) PRIMARY KEY);
INSERT INTO patron SELECT CONCAT('P', 999 + seq) FROM seq_1_to_100;
CREATE TABLE loan (loan_id INT PRIMARY KEY, branch_id INT NOT NULL REFERENCES branch, patron_no VARCHAR(12) NOT NULL,
  title VARCHAR(200) NOT NULL, due_on DATE NOT NULL, returned_on DATE, FOREIGN KEY (patron_no) REFERENCES patron(patron_no));
CREATE TABLE fee_ledger (loan_id INT PRIMARY KEY, branch_id INT, days_late SMALLINT,
  amount DECIMAL(5,2) NOT NULL CHECK (amount < 100));
"""
PARCELS = """
CREATE DATABASE parcels DEFAULT CHARSET utf8mb4; USE parcels;
CREATE TABLE scan_stage (parcel_no VARCHAR(20), depot VARCHAR(10), weight_g VARCHAR(20), scanned_at VARCHAR(30),
  consignee VARCHAR(60));
CREATE TABLE parcel (parcel_no VARCHAR(20) PRIMARY KEY, depot VARCHAR(10) NOT NULL, weight_g MEDIUMINT UNSIGNED NOT NULL,
  scanned_at DATETIME NOT NULL, consignee VARCHAR(60) NOT NULL);
CREATE TABLE depot_day (depot VARCHAR(10), day DATE, parcels INT, grams BIGINT, load_share DOUBLE, PRIMARY KEY (depot, day));
CREATE TABLE depot_capacity (depot VARCHAR(10) PRIMARY KEY, daily_parcels INT NOT NULL);
INSERT INTO depot_capacity VALUES ('north', 400), ('south', 300), ('west', 250);
ALTER TABLE parcel ADD CONSTRAINT parcel_depot FOREIGN KEY (depot) REFERENCES depot_capacity (depot);
"""

servers: dict[str, mariadb.Server] = {}


def _point(bench: Bench, prefix: str, server: mariadb.Server, database: str) -> None:
    host = {f"{prefix}_HOST": "127.0.0.1", f"{prefix}_PORT": str(server.port)}
    bench.env.update(host, **{f"{prefix}_PASSWORD": mariadb.PASSWORD, f"{prefix}_DB": database})


def sync(bench: Bench) -> None:
    servers["branches"] = mariadb.start(bench, script=BRANCHES)
    servers["library"] = mariadb.start(bench, script=WAREHOUSE)
    _point(bench, "BRANCH", servers["branches"], "branches")
    _point(bench, "WAREHOUSE", servers["library"], "library")


def scans(bench: Bench, depot: str, start: int) -> None:
    lines = [
        f"{depot[0].upper()}{n:06d};{depot};{180 + n % 900};2026-05-04 0{n % 9}:{n % 60:02d}:00;Consignee {n}"
        for n in range(start, start + 120)
    ]
    bench.write(f"inbox/{depot}.csv", "\n".join(["parcel_no;depot;weight_g;scanned_at;consignee", *lines]) + "\n")


def parcels(bench: Bench) -> None:
    servers["parcels"] = mariadb.start(bench, script=PARCELS)
    _point(bench, "WAREHOUSE", servers["parcels"], "parcels")
    for number, depot in enumerate(("north", "south", "west")):
        scans(bench, depot, 1000 * number)


def both(bench: Bench) -> None:
    sync(bench)
    servers["library"].execute(PARCELS)
    servers["parcels"] = servers["library"]
    for number, depot in enumerate(("north", "south", "west")):
        scans(bench, depot, 1000 * number)


SYNC = Program(name="library", command=("{python}", "sync_loans.py"), files=("sync_loans.py",), world=sync)
IMPORT = Program(
    name="parcels", command=("bash", "import_parcels.sh"), files=("import_parcels.sh", "merge.sql"), world=parcels
)
TWINS = Program(
    name="library_twice",
    command=("bash", "twice.sh", "{python}"),
    files=("sync_loans.py", "import_parcels.sh", "merge.sql", "twice.sh"),
    world=both,
)
WRAPPED = Program(
    name="library_nightly",
    command=("bash", "nightly.sh", "{python}"),
    files=("sync_loans.py", "nightly.sh"),
    world=sync,
)
