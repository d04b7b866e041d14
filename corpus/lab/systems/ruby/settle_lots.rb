# Settles an auction: catalogue and bids give hammer prices, fees and the consignors' statements.
require "csv"
require "json"
require "logger"
require "net/http"
require "sqlite3"
require "time"

$stdout.sync = true
LOG = Logger.new($stdout, progname: "settle")
LOG.level = ENV.fetch("LOG_LEVEL", "INFO")

class BidsApi
  PASSING = %w[429 500 502 503 504].freeze

  def initialize(base, token)
    @base = URI(base)
    @token = token
  end

  def each_page
    page = 1
    while page
      body = JSON.parse(get("/v2/bids?page=#{page}"))
      bids = body.fetch("bids")
      LOG.info("page #{page}: #{bids.size} bids, fields #{bids.first&.keys&.join(' ')}")
      yield bids
      page = body["next"]
    end
  end

  private

  def get(path, attempts: 4)
    attempts.times do |attempt|
      response = request(path)
      LOG.debug("GET #{path}: #{response.code}, #{response.body.bytesize} of #{response['Content-Length']} bytes")
      return response.body if response.code == "200"
      LOG.warn("GET #{path}: #{response.code} #{response.message}: #{response.body[0, 160]}")
      raise "giving up on #{path} after #{attempt + 1} requests" unless PASSING.include?(response.code) && attempt < attempts - 1
    end
  end

  def request(path)
    Net::HTTP.start(@base.host, @base.port, open_timeout: 1.5, read_timeout: 1.5, max_retries: 0) do |http|
      http.get(path, "Authorization" => "Bearer #{@token}", "Accept" => "application/json")
    end
  end
end

Lot = Struct.new(:number, :title, :consignor, :reserve, :ends_at, :bids, keyword_init: true)

def read_catalogue(path)
  lots = {}
  CSV.foreach(path, headers: true, encoding: "UTF-8").with_index(2) do |row, line|
    LOG.debug("line #{line}: #{row.fields.join('|')}")
    lots[row.fetch("lot")] = Lot.new(
      number: row.fetch("lot"), title: row["title"], consignor: row.fetch("consignor"),
      reserve: Float(row.fetch("reserve_eur")), ends_at: Time.iso8601(row.fetch("ends_at")), bids: []
    )
  end
  lots
end

def check_schema(catalogue)
  extra = catalogue.values.first.to_h.keys - Lot.members
  LOG.info("catalogue: #{catalogue.size} lots, #{extra.empty? ? 'fields as expected' : extra.join(' ')}")
end

def place(bids, catalogue)
  bids.each do |bid|
    lot = catalogue.fetch(bid["lot"])
    next LOG.debug("late bid #{bid['bid_id']}") if Time.iso8601(bid["placed_at"]) > lot.ends_at
    lot.bids << [bid["amount_eur"], bid["paddle"].upcase]
  end
end

def hammer(lot)
  amount, paddle = lot.bids.max_by { |bid| bid.first }
  return [lot.number, nil, 0.0, lot.consignor] if amount.nil? || amount < lot.reserve
  [lot.number, paddle, amount, lot.consignor]
end

def save(database, results)
  store = SQLite3::Database.new(database)
  store.transaction do
    results.each { |result| store.execute("INSERT INTO settlement (lot, paddle, hammer_eur, consignor) VALUES (?, ?, ?, ?)", result) }
  end
  sum = store.get_first_value("SELECT sum(hammer_eur) FROM settlement")
  LOG.info("stored #{results.size} settlements, hammer total #{format('%.2f', sum)} EUR")
end

def statements(results, folder)
  results.group_by(&:last).sort.each do |consignor, sold|
    path = File.join(folder, "#{consignor}.csv")
    CSV.open(path, "w") do |out|
      sold.each { |lot, paddle, amount, _| out << [lot, paddle, format("%.2f", amount), format("%.2f", amount * 0.82)] }
    end
    LOG.info("statement #{path}: #{sold.size} lots")
  end
end

begin
  LOG.info("sale #{ENV.fetch('SALE')} on ruby #{RUBY_VERSION}")
  catalogue = read_catalogue("catalogue.csv")
  check_schema(catalogue)
  BidsApi.new(ENV.fetch("BIDS_URL"), ENV.fetch("BIDS_TOKEN")).each_page { |bids| place(bids, catalogue) }
  results = catalogue.values.map { |lot| hammer(lot) }
  LOG.info("#{results.count { |result| result[1] }} of #{results.size} lots sold")
  save("sale.db", results)
  statements(results, "statements")
rescue StandardError => error
  LOG.error("settlement stopped: #{error.class}")
  raise
end
