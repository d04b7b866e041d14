// Imports the county's feed of building permits: XML, valid against permits.xsd, by way of a DataSet into the register.
using System;
using System.Collections.Generic;
using System.Data;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net;
using System.Xml;
using System.Xml.Schema;
using Mono.Data.Sqlite;

public class PermitImport
{
    const string Ns = "urn:county:permits:2";
    readonly string feedUrl = Environment.GetEnvironmentVariable("PERMITS_URL");
    readonly string token = Environment.GetEnvironmentVariable("PERMITS_TOKEN");

    static void Say(string text) { Trace.WriteLine("permits: " + text); }

    List<string> Index()
    {
        using (var client = new WebClient())
        {
            client.Headers[HttpRequestHeader.Authorization] = "Bearer " + token;
            var index = client.DownloadString(feedUrl + "/index.txt");
            return index.Split(new[] { '\n' }, StringSplitOptions.RemoveEmptyEntries).ToList();
        }
    }

    string Download(string name)
    {
        var path = Path.Combine("spool", name);
        Directory.CreateDirectory("spool");
        using (var client = new WebClient())
        {
            client.Headers[HttpRequestHeader.Authorization] = "Bearer " + token;
            client.DownloadFile(feedUrl + "/files/" + name, path);
        }
        Say(name + ": " + new FileInfo(path).Length + " bytes");
        return path;
    }

    XmlReaderSettings Rules()
    {
        var rules = new XmlReaderSettings { ValidationType = ValidationType.Schema, DtdProcessing = DtdProcessing.Prohibit };
        rules.Schemas.Add(Ns, "permits.xsd");
        return rules;
    }

    DataSet Register()
    {
        var set = new DataSet("permits") { Namespace = Ns };
        set.ReadXmlSchema("register.xsd");
        return set;
    }

    void Read(string path, DataSet set)
    {
        var permits = set.Tables["permit"];
        var parcels = set.Tables["parcel"];
        using (var stream = File.OpenRead(path))
        using (var reader = XmlReader.Create(stream, Rules(), path))
        {
            DataRow row = null;
            while (!reader.EOF)
            {
                if (reader.NodeType != XmlNodeType.Element) { reader.Read(); continue; }
                if (reader.LocalName == "cost") { row["cost"] = reader.ReadElementContentAsDecimal(); continue; }
                if (reader.LocalName == "applicant") { row["applicant"] = reader.ReadElementContentAsString(); continue; }
                if (reader.LocalName == "permit")
                {
                    row = permits.NewRow();
                    row["number"] = reader.GetAttribute("number");
                    row["parish"] = reader.GetAttribute("parish");
                    row["issued"] = XmlConvert.ToDateTime(reader.GetAttribute("issued"), XmlDateTimeSerializationMode.Utc);
                    permits.Rows.Add(row);
                }
                else if (reader.LocalName == "parcel") parcels.Rows.Add(row["number"], reader.GetAttribute("cadastre"), XmlConvert.ToInt32(reader.GetAttribute("sqm")));
                reader.Read();
            }
        }
    }

    void Merge(DataSet set)
    {
        using (var connection = new SqliteConnection("Data Source=register.db"))
        {
            connection.Open();
            new SqliteCommand("PRAGMA foreign_keys = ON", connection).ExecuteNonQuery();
            using (var transaction = connection.BeginTransaction())
            {
                try
                {
                    Insert(connection, "permit", set.Tables["permit"]);
                    Insert(connection, "parcel", set.Tables["parcel"]);
                    transaction.Commit();
                }
                catch (SqliteException error)
                {
                    Say("merge given up: " + error.Message);
                    throw;
                }
            }
            var totals = new SqliteCommand("SELECT count(*), total(cost) FROM permit JOIN parish USING (parish)", connection).ExecuteReader();
            totals.Read();
            Say("register holds " + totals.GetInt64(0) + " permits, " + totals.GetDouble(1).ToString("N0") + " in all");
        }
    }

    void Insert(SqliteConnection connection, string name, DataTable table)
    {
        var columns = table.Columns.Cast<DataColumn>().Select(c => c.ColumnName).ToArray();
        var sql = "INSERT INTO " + name + " (" + string.Join(", ", columns) + ") VALUES (" + string.Join(", ", columns.Select(c => "@" + c)) + ")";
        foreach (DataRow row in table.Rows)
        {
            var command = new SqliteCommand(sql, connection);
            foreach (var column in columns) command.Parameters.AddWithValue("@" + column, row[column]);
            command.ExecuteNonQuery();
        }
        Say(name + ": " + table.Rows.Count + " rows");
    }

    void Run()
    {
        var files = Index();
        Say(files.Count + " files offered");
        var set = Register();
        set.EnforceConstraints = false;
        foreach (var name in files)
        {
            var path = Download(name);
            Read(path, set);
            Say(name + ": " + set.Tables["permit"].Rows.Count + " permits so far");
        }
        set.EnforceConstraints = true;
        Merge(set);
    }

    public static void Main()
    {
        Trace.Listeners.Clear();
        Trace.Listeners.Add(new TextWriterTraceListener(Console.Error));
        Trace.AutoFlush = true;
        new PermitImport().Run();
        Say("finished");
    }
}
