defmodule BloodBank.Ledger do
  @moduledoc "Owns the connection to the register; one transaction per delivery night."
  use GenServer
  require Logger

  def start_link(options), do: GenServer.start_link(__MODULE__, options, name: __MODULE__)
  def query(sql), do: GenServer.call(__MODULE__, {:query, sql}, 20_000)

  @impl true
  def init(options) do
    {:ok, connection} = :pgsql.connect(options)
    Logger.info("register opened as #{options[:user]}")
    {:ok, %{connection: connection}}
  end

  @impl true
  def handle_call({:query, sql}, _from, %{connection: connection} = state) do
    case :pgsql.squery(connection, sql) do
      {:ok, [{:error, details}]} -> {:stop, {:register, details}, state}
      {:ok, [answer]} -> {:reply, answer, state}
    end
  end

  @impl true
  def format_status(_reason, [_dictionary, state]), do: [data: [{'State', Map.keys(state)}]]
end

defmodule BloodBank.Labs do
  @moduledoc "The screening laboratories and what they accept, from the service of the blood authority."
  require Logger

  def fetch(url, token, attempt \\ 1) do
    headers = [{'authorization', 'Bearer #{token}'}, {'accept', 'application/json'}]

    case :httpc.request(:get, {'#{url}/v2/labs', headers}, http_options(), body_format: :binary) do
      {:ok, {{_, 200, _}, _, body}} ->
        %{"labs" => labs} = :jiffy.decode(body, [:return_maps])
        Map.new(labs, &{&1["code"], &1})

      {:ok, {{_, status, _}, _, _}} when status in [429, 502, 503] and attempt < 4 ->
        Logger.warning("labs: status #{status}, attempt #{attempt} of 4")
        Process.sleep(50 * attempt)
        fetch(url, token, attempt + 1)

      {:ok, {{_, status, phrase}, _, body}} ->
        raise "labs service answered #{status} #{phrase}: #{String.slice(body, 0, 200)}"

      {:error, reason} ->
        raise "labs service not reached: #{inspect(reason)}"
    end
  end

  defp http_options do
    roots = System.get_env("LABS_CA", "/etc/ssl/certs/ca-certificates.crt")
    [timeout: 3_000, connect_timeout: 2_000, ssl: [verify: :verify_peer, cacertfile: '#{roots}', depth: 3]]
  end
end

defmodule BloodBank.Donation do
  @moduledoc "One donated unit, as the mobile teams' tablets write it."
  defstruct [:unit, :donor, :drawn_at, :group, :rh, :ml, :lab]

  def parse(row, labs) do
    lab = Map.fetch!(labs, row.lab)
    {:ok, drawn_at, 0} = DateTime.from_iso8601(row.drawn_at)

    %__MODULE__{
      unit: row.unit,
      donor: row.donor,
      drawn_at: drawn_at,
      group: row.group,
      rh: rhesus(row.rh),
      ml: String.to_integer(row.ml),
      lab: String.upcase(lab["code"])
    }
  end

  defp rhesus("+"), do: "POS"
  defp rhesus("-"), do: "NEG"

  def values(%__MODULE__{} = donation) do
    [donation.unit, donation.donor, DateTime.to_iso8601(donation.drawn_at), donation.group, donation.rh, donation.ml, donation.lab]
    |> Enum.map_join(", ", &quoted/1)
    |> then(&"(#{&1})")
  end

  defp quoted(number) when is_integer(number), do: Integer.to_string(number)
  defp quoted(""), do: "NULL"
  defp quoted(text), do: "'" <> String.replace(text, "'", "''") <> "'"
end

defmodule BloodBank.Night do
  @moduledoc "Books the night's donations and writes the cold chain's sheet."
  alias BloodBank.{Donation, Labs, Ledger}
  require Logger

  @batch 40

  def run do
    labs = Labs.fetch(System.fetch_env!("LABS_URL"), System.fetch_env!("LABS_TOKEN"))
    Logger.info("#{map_size(labs)} laboratories")
    donations = "donations/*.csv" |> Path.wildcard() |> read_all(labs)
    Logger.info("#{length(donations)} donations read")
    Ledger.query("BEGIN")
    donations |> Enum.chunk_every(@batch) |> Enum.each(&book/1)
    check(length(donations))
    Ledger.query("COMMIT")
    sheet(donations)
  end

  defp read_all(files, labs) do
    files
    |> Task.async_stream(&read(&1, labs), max_concurrency: 2, timeout: 15_000)
    |> Enum.flat_map(fn {:ok, donations} -> donations end)
  end

  defp read(file, labs) do
    [header | lines] = file |> File.stream!() |> Stream.map(&String.trim_trailing(&1, "\n")) |> Enum.to_list()
    names = header |> String.split(";") |> Enum.map(&String.to_atom/1)
    Logger.info("reading #{file}", columns: header)
    for line <- lines, do: names |> Enum.zip(String.split(line, ";")) |> Map.new() |> Donation.parse(labs)
  end

  defp book(donations) do
    rows = Enum.map_join(donations, ",\n  ", &Donation.values/1)
    columns = "unit, donor, drawn_at, blood_group, rhesus, millilitres, lab"
    Ledger.query("INSERT INTO donation (#{columns}) VALUES\n  #{rows}")
    Logger.info("booked #{length(donations)} units")
  end

  defp check(expected) do
    {"SELECT" <> _, _, [[booked]]} = Ledger.query("SELECT count(*) FROM donation WHERE booked_on = current_date")
    least = String.to_integer(System.get_env("LEAST_UNITS", "0"))
    if String.to_integer(booked) != expected, do: raise("register holds #{booked} units of tonight, #{expected} were read")
    if expected < least, do: raise("#{expected} units, at least #{least} were announced by the teams")
  end

  defp sheet(donations) do
    lines = for {lab, units} <- Enum.group_by(donations, & &1.lab), unit <- units, do: "#{lab}\t#{unit.unit}\t#{unit.ml}\n"
    File.write!("sheets/cold_chain.tsv", lines)
    Logger.info("sheet of #{length(lines)} lines written")
  end
end

defmodule BloodBank do
  @moduledoc "The nightly booking: a supervised ledger, then the night's work in this process."

  def main do
    Logger.configure_backend(:console, format: "$date $time [$level] $metadata$message\n", metadata: [:pid, :columns])
    {:ok, _} = Application.ensure_all_started(:inets)
    {:ok, _} = Application.ensure_all_started(:ssl)
    {:ok, _} = Application.ensure_all_started(:stringprep)
    {:ok, _} = Supervisor.start_link([{BloodBank.Ledger, register()}], strategy: :one_for_one, max_restarts: 2)
    BloodBank.Night.run()
    Logger.flush()
  end

  defp register do
    [
      host: '#{System.fetch_env!("PGHOST")}',
      port: String.to_integer(System.fetch_env!("PGPORT")),
      database: '#{System.fetch_env!("PGDATABASE")}',
      user: '#{System.fetch_env!("PGUSER")}',
      password: '#{System.fetch_env!("PGPASSWORD")}',
      as_binary: true
    ]
  end
end
