"""The verdict is right about what single products print, without a line of their logs in the corpus."""

from __future__ import annotations

import pytest

from mendline.classify import error_codes
from mendline.classify.verdict import classify_text
from mendline.incident import FailureType

SCHEMA, DATA, API, RESOURCE, UNKNOWN = (
    FailureType.SCHEMA_CHANGE,
    FailureType.DATA_QUALITY,
    FailureType.API_FAILURE,
    FailureType.RESOURCE,
    FailureType.UNKNOWN,
)

SAID = [
    (
        SCHEMA,
        "Copy activity failed: ErrorCode=UserErrorInvalidColumnName,The column net_kg is not found in target side",
    ),
    (
        SCHEMA,
        "DTS Pipeline: The package execution failed. Error: validation status VS_NEEDSNEWMETADATA on 'OLE DB Source'",
    ),
    (
        SCHEMA,
        "ERROR Task failed: io.confluent.connect.jdbc.sink.TableAlterOrCreateException: "
        "Cannot ALTER TABLE \"berths\" to add missing field SinkRecordField{name='draught'}",
    ),
    (
        SCHEMA,
        "[Error 10004]: FAILED: SemanticException [Error 10004]: Line 1:7 Invalid table alias or column reference 'tide'",
    ),
    (SCHEMA, "io.trino.spi.TrinoException: line 3:11: Column 'wharf_code' cannot be resolved"),
    (SCHEMA, "HIVE_PARTITION_SCHEMA_MISMATCH: There is a mismatch between the table and partition schemas"),
    (
        SCHEMA,
        'ibm_db_dbi.ProgrammingError: [IBM][CLI Driver][DB2/LINUXX8664] SQL0206N  "PIER_NO" is not valid in the context where it is used.',
    ),
    (SCHEMA, "*** Failure 5628 Column lot_grade not found in stage.lots."),
    (
        SCHEMA,
        "Error in `select()`:\n! Can't subset columns that don't exist.\n✖ Column `yield_kg` doesn't exist.\nExecution halted",
    ),
    (SCHEMA, "ERROR: ArgumentError: column name :moisture not found in the data frame"),
    (
        SCHEMA,
        "Unhandled exception. CsvHelper.HeaderValidationException: Header with name 'MoistureLevel'[0] was not found.",
    ),
    (SCHEMA, "Error: called with body: missing field `hull_id` at line 1 column 88"),
    (
        SCHEMA,
        "ERROR: cvc-complex-type.2.4.a: Invalid content was found starting with element 'weightKg'. One of '{weight}' is expected.",
    ),
    (
        SCHEMA,
        "org.apache.avro.AvroTypeException: Found harvest.Lot, expecting harvest.Lot, missing required field grade",
    ),
    (
        SCHEMA,
        "simple_salesforce.exceptions.SalesforceMalformedRequest: INVALID_FIELD: No such column 'Region__c' on entity 'Account'",
    ),
    (SCHEMA, 'ZodError: [{"code":"unrecognized_keys","message":"Unrecognized key(s) in object: \'hull_kind\'"}]'),
    (
        SCHEMA,
        '{"type":"mapper_parsing_exception","reason":"object mapping for [berth] tried to parse field [berth] as object"}',
    ),
    (
        DATA,
        "pymongo.errors.BulkWriteError: batch op errors occurred, E11000 duplicate key error collection: port.calls index: call_id_1",
    ),
    (DATA, "Found character ',' instead of record delimiter '\\n' File 'lots.csv', line 41, character 22"),
    (DATA, "SQL*Loader: Record 17: Rejected - Error on table LOTS, column GRADE. second enclosure string not present"),
    (
        DATA,
        "SQL0803N  One or more values in the INSERT statement are not valid because they would produce duplicate rows.",
    ),
    (DATA, "*** Failure 2801 Duplicate unique prime key error in stage.lots."),
    (DATA, "Error: CSV_QUOTE_NOT_CLOSED: Quote Not Closed: the parsing is finished with an opening quote at line 812"),
    (DATA, "csv.rb:1021:in `parse': Illegal quoting in line 9. (CSV::MalformedCSVError)"),
    (DATA, "PG::UniqueViolation: ERROR:  duplicate key value (ActiveRecord::RecordNotUnique)"),
    (DATA, 'Error: HoodieKeyException: recordKey value: "null" for field: "lot_id" cannot be null or empty.'),
    (DATA, "UPDATE/MERGE must match at most one source row for each target row"),
    (DATA, "org.xml.sax.SAXParseException; lineNumber: 1; columnNumber: 1; Content is not allowed in prolog."),
    (DATA, "cvc-enumeration-valid: Value 'ZZ' is not facet-valid with respect to enumeration '[DE, FR, NL]'."),
    (DATA, "Unhandled exception. System.FormatException: String '31.02.2026' was not recognized as a valid DateTime."),
    (DATA, 'fatal: ReadError: parse error on line 14, column 8: bare " in non-quoted field'),
    (DATA, "FIELD_CUSTOM_VALIDATION_EXCEPTION: harvest date lies before planting date"),
    (API, "kafka.errors.NoBrokersAvailable: NoBrokersAvailable"),
    (API, "org.apache.kafka.common.errors.TimeoutException: Topic tide-levels not present in metadata after 60000 ms."),
    (API, "pymongo.errors.ServerSelectionTimeoutError: No replica set members found yet, Timeout: 30s"),
    (API, "cassandra.cluster.NoHostAvailable: ('Unable to complete the operation against any hosts', {})"),
    (API, "AADSTS700082: The refresh token has expired due to inactivity."),
    (API, 'SQL30081N  A communication error has been detected. Communication protocol being used: "TCP/IP".'),
    (API, "AxiosError: Request failed with status code 503"),
    (API, "INVALID_SESSION_ID: Session expired or invalid"),
    (API, "shopify: Exceeded 2 calls per second for api client. Reduce request rates to resume uninterrupted service."),
    (API, "toomanyrequests: You have reached your pull rate limit."),
    (API, "<title>Just a moment...</title>\nError: expected JSON from the tariff service"),
    (
        API,
        "Error making API request. URL: GET https://vault.port.example:8200/v1/secret\nCode: 503. Errors: * Vault is sealed",
    ),
    (API, "ldap_bind: Can't contact LDAP server (-1)"),
    (API, "ssh: connect to host drop.port.example port 22: Connection refused"),
    (API, "ClusterBlock: master_not_discovered_exception [503]"),
    (API, 'Could not connect to the endpoint URL: "https://s3.eu-west-9.amazonaws.com/lots"'),
    (RESOURCE, "slurmstepd: error: *** JOB 8812 ON node17 CANCELLED AT 2026-05-11T03:14:00 DUE TO TIME LIMIT ***"),
    (RESOURCE, "tides.service: Failed with result 'oom-kill'."),
    (RESOURCE, "kernel: Memory cgroup out of memory: Killed process 4411 (python3) total-vm:8123456kB"),
    (RESOURCE, "2026-05-11T03:14:00Z 4ad1 Task timed out after 900.10 seconds"),
    (RESOURCE, "OutOfMemoryError: Container killed due to memory usage"),
    (RESOURCE, "Warning FailedScheduling 0/6 nodes are available: 6 Insufficient memory."),
    (RESOURCE, "The node was low on resource: ephemeral-storage. Container load was using 9Gi, request is 0."),
    (RESOURCE, "INSUFFICIENT RESOURCES: Query exhausted resources at this scale factor"),
    (RESOURCE, "Query exceeded per-node memory limit of 4GB"),
    (RESOURCE, "There is insufficient memory for the Java Runtime Environment to continue."),
    (RESOURCE, "*** Failure 2646 No more spool space in loader."),
    (RESOURCE, "HikariPool-1 - Connection is not available, request timed out after 30000ms."),
    (RESOURCE, "ZONE_RESOURCE_POOL_EXHAUSTED: the zone 'europe-west9-a' does not have enough resources available"),
    (RESOURCE, "PHP Fatal error:  Allowed memory size of 134217728 bytes exhausted (tried to allocate 20480 bytes)"),
    (RESOURCE, "Error: cannot allocate vector of size 7.4 Gb"),
    (RESOURCE, "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"),
    (RESOURCE, "ORA-30036: unable to extend segment by 8 in undo tablespace 'UNDOTBS1'"),
    (UNKNOWN, 'Back-off pulling image "registry.port.example/tides:v9": ErrImagePull: manifest unknown'),
    (UNKNOWN, "airflow.exceptions.AirflowNotFoundException: The conn_id `tariff_api` isn't defined"),
    (UNKNOWN, "AADSTS700016: Application with identifier 'tides' was not found in the directory 'port'"),
    (
        UNKNOWN,
        'pods is forbidden: User "system:serviceaccount:port:loader" cannot create resource "pods" in API group ""',
    ),
    (UNKNOWN, 'SQL0551N  "LOADER" does not have the required authorization or privilege to perform operation "SELECT"'),
    (UNKNOWN, "Runtime.ImportModuleError: Unable to import module 'handler': No module named 'tariffs'"),
    (
        UNKNOWN,
        "JobInstanceAlreadyCompleteException: A job instance already exists and is complete for parameters={day=2026-05-11}",
    ),
    (UNKNOWN, "ConcurrentAppendException: Files were added to the root of the table by a concurrent update."),
    (
        UNKNOWN,
        "org.apache.kafka.clients.consumer.CommitFailedException: Commit cannot be completed since the group has already rebalanced",
    ),
    (UNKNOWN, "CommandException: No URLs matched: gs://port-drop/2026-05-11/tides.csv"),
    (UNKNOWN, "Unable to acquire: No active warehouse selected in the current session."),
]


@pytest.mark.parametrize(("kind", "said"), SAID, ids=[said[:48] for _, said in SAID])
def test_the_words_of_a_product_give_the_right_type(kind: FailureType, said: str):
    assert classify_text(said).type is kind


CALM = """
INFO scheduler: 12 pods running, rate 40 records per second
usage: airflow tasks run [-h] [--help] print the number of task instances and exit
INFO loaded 4,120 rows into lots in 12.4 s
INFO Kafka consumer group joined; assigned partitions tide-levels-0, tide-levels-1
INFO Fetching connection from pool HikariPool-1 (total=10, active=2)
10:02:11 | Finished running 3 table models, 12 data tests in 0 hours 0 minutes and 41.20 seconds
Copying gs://port-drop/2026-05-11/tides.csv... [1/1 files][ 12.0 MiB/ 12.0 MiB] 100% Done
systemd[1]: Started Nightly load of the tide tables.
[GC (Allocation Failure) 512M->128M(1024M), 0.0123 secs]
Container started; memory limit 2Gi, cpu 500m, deadline 3600 s
Successfully assigned port/tides-loader to node17; pulling image registry.port.example/tides:v8
Token refreshed; it expires in 3600 s; X-RateLimit-Limit: 5000
REPORT RequestId: 4ad1 Duration: 812.10 ms Billed Duration: 813 ms Memory Size: 512 MB Max Memory Used: 201 MB
Elasticsearch cluster health is green, 12 active shards, index lots refreshed
Execution plan: scan lots, filter grade = 'A', aggregate, write to stage.lots
Validated 4,120 records against schema lots-v3.json
Terraform plan: 0 to add, 0 to change, 0 to destroy
sqlldr: Commit point reached - logical record count 64
Connected to drop.port.example; switching to binary mode; 226 Transfer complete
Spark: Added broadcast_3_piece0 in memory on node17:41231 (size: 4.2 KiB, free: 366.3 MiB)
""".strip().splitlines()


@pytest.mark.parametrize("line", CALM)
def test_no_message_of_a_product_is_found_in_a_line_of_progress(line: str):
    own = {str(row["message"]) for row in error_codes._rows("messages_systems.jsonl")}
    assert [hit.meaning.code for hit in error_codes.messages_in(line) if hit.meaning.code in own] == []
