// Nightly intake of the dairy: tanker routes (CSV) and laboratory results (HTTP) into the settlement store, then the pay sheet.
using System;
using System.Collections.Generic;
using System.Data;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net;
using System.Text;
using System.Threading;
using System.Xml.Linq;
using System.Web.Script.Serialization;
using Mono.Data.Sqlite;

namespace Dairy.Intake
{
    static class Log
    {
        public static void Info(string source, string format, params object[] values) { Write("INFO ", source, string.Format(CultureInfo.InvariantCulture, format, values)); }
        public static void Warn(string source, string format, params object[] values) { Write("WARN ", source, string.Format(CultureInfo.InvariantCulture, format, values)); }
        public static void Fatal(string source, Exception error) { Write("FATAL", source, "intake aborted" + Environment.NewLine + error); }

        static void Write(string level, string source, string text)
        {
            Console.WriteLine("{0:yyyy-MM-dd HH:mm:ss,fff} [{1}] {2} Dairy.Intake.{3} - {4}", DateTime.UtcNow, Thread.CurrentThread.ManagedThreadId, level, source, text);
        }
    }

    class IntakeException : Exception
    {
        public IntakeException(string message, Exception inner = null) : base(message, inner) { }
    }

    class Settings
    {
        readonly XElement root;
        public Settings(string path) { root = XDocument.Load(path).Root; }
        public string this[string key]
        {
            get { return root.Elements("add").Single(e => (string)e.Attribute("key") == key).Attribute("value").Value; }
        }
    }

    class RouteReader
    {
        public static readonly string[] Header = { "pickup_id", "farm_id", "collected_at", "litres", "temperature", "sample" };

        public static DataTable NewTable()
        {
            var table = new DataTable("pickup");
            table.Columns.Add("pickup_id", typeof(int)).AllowDBNull = false;
            table.Columns.Add("farm_id", typeof(int)).AllowDBNull = false;
            table.Columns.Add("collected_at", typeof(DateTime)).AllowDBNull = false;
            table.Columns.Add("litres", typeof(decimal)).AllowDBNull = false;
            table.Columns.Add("temperature", typeof(double));
            table.Columns.Add("sample", typeof(string)).MaxLength = 8;
            table.PrimaryKey = new[] { table.Columns["pickup_id"] };
            table.Locale = CultureInfo.InvariantCulture;
            return table;
        }

        public static void Read(string path, DataTable table)
        {
            using (var reader = new StreamReader(path, new UTF8Encoding(false, true)))
            {
                var header = reader.ReadLine().Split(';');
                Log.Info("RouteReader", "{0}: header {1}", path, string.Join(",", header));
                var before = table.Rows.Count;
                string line;
                while ((line = reader.ReadLine()) != null)
                {
                    var fields = line.Split(';');
                    var row = table.NewRow();
                    for (var i = 0; i < header.Length; i++)
                        if (fields[i].Length > 0) row[header[i]] = fields[i];
                    table.Rows.Add(row);
                }
                Log.Info("RouteReader", "{0}: {1} pickups", path, table.Rows.Count - before);
            }
        }
    }

    class LabClient
    {
        readonly string url;
        readonly string key;
        readonly int tries;
        public LabClient(string url, string key, int tries) { this.url = url; this.key = key; this.tries = tries; }

        public Dictionary<string, Dictionary<string, object>> Results()
        {
            var text = Fetch("/results?status=final");
            var reply = new JavaScriptSerializer { MaxJsonLength = int.MaxValue }.Deserialize<Dictionary<string, object>>(text);
            var results = ((System.Collections.ArrayList)reply["results"]).Cast<Dictionary<string, object>>().ToList();
            Log.Info("LabClient", "{0} results, fields {1}", results.Count, string.Join(",", results[0].Keys));
            return results.ToDictionary(r => (string)r["sample"]);
        }

        string Fetch(string path)
        {
            for (var attempt = 1; ; attempt++)
            {
                var request = (HttpWebRequest)WebRequest.Create(url + path);
                request.Timeout = 2500;
                request.ReadWriteTimeout = 2500;
                request.Headers["X-Lab-Key"] = key;
                request.UserAgent = "dairy-intake/4.2";
                Log.Info("LabClient", "GET {0} (attempt {1} of {2})", request.RequestUri, attempt, tries);
                try
                {
                    using (var response = (HttpWebResponse)request.GetResponse())
                    using (var reader = new StreamReader(response.GetResponseStream()))
                    {
                        var text = reader.ReadToEnd();
                        Log.Info("LabClient", "{0} {1}, {2} characters", response.StatusCode, response.ContentType, text.Length);
                        return text;
                    }
                }
                catch (WebException error)
                {
                    Log.Warn("LabClient", "{0}: {1}", error.Status, error.Message);
                    if (attempt >= tries) throw new IntakeException("laboratory results could not be fetched", error);
                    Thread.Sleep(200 * attempt);
                }
            }
        }
    }

    class Store : IDisposable
    {
        readonly SqliteConnection connection;

        public Store(string path)
        {
            connection = new SqliteConnection("URI=file:" + path + ",version=3");
            connection.Open();
            Run("PRAGMA foreign_keys = ON");
            Run("PRAGMA busy_timeout = 1500");
        }

        void Run(string sql, params object[] values)
        {
            using (var command = new SqliteCommand(sql, connection))
            {
                foreach (var value in values) command.Parameters.Add(new SqliteParameter { Value = value });
                command.ExecuteNonQuery();
            }
        }

        public void Save(DataTable pickups, Dictionary<string, Dictionary<string, object>> results)
        {
            using (var transaction = connection.BeginTransaction())
            {
                foreach (DataRow row in pickups.Rows)
                {
                    var lab = results[(string)row["sample"]];
                    Run("INSERT INTO delivery (pickup_id, farm_id, collected_at, litres, temperature, fat, protein, cells) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        row["pickup_id"], row["farm_id"], ((DateTime)row["collected_at"]).ToString("s"), row["litres"], row["temperature"],
                        Convert.ToDecimal(lab["fat"], CultureInfo.InvariantCulture), Convert.ToDecimal(lab["protein"], CultureInfo.InvariantCulture), (int)lab["cells"]);
                }
                transaction.Commit();
            }
            Log.Info("Store", "{0} deliveries stored", pickups.Rows.Count);
        }

        public DataTable Sheet()
        {
            var sheet = new DataTable("sheet");
            const string sql = @"SELECT f.farm_id, f.name, sum(d.litres) AS litres, sum(d.litres * (p.base + p.per_fat * (d.fat - 4.0))) AS pay
                FROM delivery d JOIN farm f ON f.farm_id = d.farm_id JOIN price p ON p.month = strftime('%Y-%m', d.collected_at)
                GROUP BY 1, 2 ORDER BY 1";
            using (var adapter = new SqliteDataAdapter(sql, connection)) adapter.Fill(sheet);
            return sheet;
        }

        public void Dispose() { connection.Dispose(); }
    }

    static class Program
    {
        static void WriteSheet(DataTable sheet, string path)
        {
            using (var file = new StreamWriter(path))
            {
                file.WriteLine(string.Join(";", sheet.Columns.Cast<DataColumn>().Select(c => c.ColumnName)));
                foreach (DataRow row in sheet.Rows) file.WriteLine(string.Join(";", row.ItemArray));
            }
            Log.Info("Program", "{0}: {1} farms", path, sheet.Rows.Count);
        }

        static void CheckVolume(DataTable pickups, decimal least)
        {
            var litres = pickups.Rows.Cast<DataRow>().Sum(r => (decimal)r["litres"]);
            Log.Info("Program", "{0} pickups, {1} litres", pickups.Rows.Count, litres);
            if (litres < least) throw new IntakeException(string.Format("intake of {0} litres is below the least of {1} for a day", litres, least));
        }

        static void Work(Settings settings)
        {
            var pickups = RouteReader.NewTable();
            foreach (var path in Directory.GetFiles(settings["routes"], "*.csv").OrderBy(p => p)) RouteReader.Read(path, pickups);
            CheckVolume(pickups, decimal.Parse(settings["least_litres"], CultureInfo.InvariantCulture));
            var results = new LabClient(settings["lab_url"], settings["lab_key"], 3).Results();
            using (var store = new Store(settings["store"]))
            {
                store.Save(pickups, results);
                WriteSheet(store.Sheet(), settings["sheet"]);
            }
        }

        static int Main(string[] args)
        {
            Thread.CurrentThread.CurrentCulture = CultureInfo.GetCultureInfo(Environment.GetEnvironmentVariable("INTAKE_CULTURE") ?? "en-IE");
            Log.Info("Program", "Dairy.Intake 4.2.0 on {0}", Environment.Version);
            try
            {
                Work(new Settings("intake.config"));
                Log.Info("Program", "intake complete");
                return 0;
            }
            catch (Exception error)
            {
                Log.Fatal("Program", error);
                return 3;
            }
        }
    }
}
