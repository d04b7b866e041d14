# Seismic network: the hour's picks of the stations, located and kept in the bulletin's store.
require Logger
Logger.configure_backend(:console, format: {Log, :line}, metadata: [:mfa])

defmodule Log do
  def line(level, message, {_date, {h, m, s, ms}}, metadata) do
    at = :io_lib.format("~2..0B:~2..0B:~2..0B.~3..0B", [h, m, s, ms])
    ["t=", at, " lvl=", Atom.to_string(level), where(metadata[:mfa]), " ", message, ?\n]
  end

  defp where({module, function, arity}), do: " in=#{inspect(module)}.#{function}/#{arity}"
  defp where(_), do: ""
end

defmodule Picks.Stations do
  @moduledoc "The network's inventory: one process asks, ETS answers."
  use Agent
  require Logger

  def start_link(url) do
    :ets.new(:stations, [:named_table, :public, read_concurrency: true])
    Agent.start_link(fn -> load(url) end, name: __MODULE__)
  end

  defp load(url) do
    stations = get!("#{url}/inventory", 3)["stations"]

    for station <- stations do
      :ets.insert(:stations, {station["code"], station["lat"], station["lon"], station["elevation_m"]})
    end

    Logger.info("inventory of #{length(stations)} stations, fields: #{stations |> hd() |> Map.keys() |> Enum.join(", ")}")
  end

  defp get!(url, left) do
    case :httpc.request(:get, {'#{url}', []}, [timeout: 4_000], body_format: :binary) do
      {:ok, {{_, 200, _}, _, body}} -> :jiffy.decode(body, [:return_maps])
      {:ok, {{_, status, _}, headers, _}} when left > 0 -> wait(url, left, status, :proplists.get_value('retry-after', headers, '0'))
      {:error, _} = failed when left > 0 -> wait(url, left, inspect(failed), '0')
      other -> exit({:inventory, url, other})
    end
  end

  defp wait(url, left, what, seconds) do
    Logger.warning("inventory: #{what}, #{left} attempts left")
    Process.sleep(1000 * List.to_integer(seconds) + 20)
    get!(url, left - 1)
  end

  def position(code) do
    [lat, lon, elevation] = for field <- 2..4, do: :ets.lookup_element(:stations, code, field)
    {lat / 1, lon / 1, elevation / 1000}
  end
end

defmodule Picks.Reader do
  @moduledoc "Reads a station's spool; one JSON object per line, compressed."
  require Logger

  def read(spool) do
    Logger.debug("spool #{spool}")
    spool |> File.stream!([:compressed], :line) |> Enum.map(&pick(:jiffy.decode(&1, [:return_maps])))
  end

  defp pick(%{"id" => id, "station" => code, "phase" => phase, "at_ms" => at, "snr" => snr, "event" => event}) do
    {lat, lon, depth} = Picks.Stations.position(code)
    %{id: id, station: code, phase: phase, at: div(at, 1), weight: weight(snr), event: event, slant: :math.sqrt(lat * lat + lon * lon + depth * depth)}
  end

  defp weight(snr) when snr >= 0 and snr < 10_000, do: 1 - 1 / (1 + :math.log10(1 + snr))
end

defmodule Picks.Bulletin do
  @moduledoc "The store, behind a port to the sqlite3 program."
  use GenServer
  require Logger

  def start_link(file), do: GenServer.start_link(__MODULE__, file, name: __MODULE__)
  def script(lines), do: GenServer.call(__MODULE__, {:script, lines}, 30_000)

  @impl true
  def init(file), do: {:ok, file}

  @impl true
  def handle_call({:script, lines}, _from, file) do
    path = "spool/bulletin.sql"
    File.write!(path, [".bail on\n.timeout 1500\nPRAGMA foreign_keys = ON;\nBEGIN IMMEDIATE;\n", lines, "COMMIT;\n"])
    port = Port.open({:spawn_executable, System.find_executable("sqlite3")}, [:binary, :exit_status, :stderr_to_stdout, args: [file, ".read #{path}"]])
    {:reply, drain(port, ""), file}
  end

  defp drain(port, said) do
    receive do
      {^port, {:data, data}} -> drain(port, said <> data)
      {^port, {:exit_status, 0}} -> {:ok, said}
      {^port, {:exit_status, status}} -> {:error, status, said}
    end
  end
end

defmodule Picks do
  require Logger

  def run do
    children = [{Picks.Stations, System.fetch_env!("INVENTORY_URL")}, {Picks.Bulletin, System.fetch_env!("BULLETIN")}, {Task.Supervisor, name: Picks.Readers}]
    {:ok, _} = Supervisor.start_link(children, strategy: :rest_for_one)
    picks = spools() |> Enum.map(&Task.Supervisor.async(Picks.Readers, Picks.Reader, :read, [&1])) |> Task.await_many(20_000) |> List.flatten()
    Logger.info("#{length(picks)} picks of #{length(spools())} spools")
    {:ok, _} = Picks.Bulletin.script(Enum.map(picks, &insert/1))
    associate(Enum.group_by(picks, & &1.event))
    Logger.info("bulletin closed")
  end

  defp spools do
    case Path.wildcard("spool/*.ndjson.gz") do
      [] -> raise "no spool of this hour in #{File.cwd!()}/spool"
      found -> found
    end
  end

  defp insert(pick) do
    "INSERT INTO pick (id, station, phase, at_ms, weight, event) VALUES (#{pick.id}, '#{pick.station}', '#{pick.phase}', #{pick.at}, #{Float.round(pick.weight, 4)}, #{sql(pick.event)});\n"
  end

  defp sql(nil), do: "NULL"
  defp sql(:null), do: "NULL"
  defp sql(text), do: "'#{text}'"

  defp associate(events) do
    lines = for {event, picks} <- events, do: "#{event} #{length(picks)} #{Float.round(residual(picks), 2)}\n"
    File.write!("bulletins/hour.txt", lines)
    Logger.info("#{length(lines)} events associated")
  end

  defp residual(picks) do
    first = picks |> Enum.map(& &1.at) |> Enum.min()
    total = picks |> Enum.map(&(&1.weight * (&1.at - first))) |> Enum.sum()
    total / (picks |> Enum.map(& &1.weight) |> Enum.sum())
  end
end

{:ok, _} = Application.ensure_all_started(:inets)
{_, hour} = spawn_monitor(Picks, :run, [])

receive do
  {:DOWN, ^hour, :process, _, :normal} ->
    Logger.flush()

  {:DOWN, ^hour, :process, _, reason} ->
    # The emulator's own reports come late.
    Process.sleep(200)
    Logger.critical("the hour is not closed: #{Exception.format_exit(reason)}")
    Logger.flush()
    System.stop(1)
    Process.sleep(:infinity)
end
