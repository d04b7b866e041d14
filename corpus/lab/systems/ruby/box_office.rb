# Box office: the shops' compressed order files become seats sold per show, and an archive for the accountant.
require "bigdecimal"
require "date"
require "fileutils"
require "json"
require "zlib"

def log(text) = puts("#{Time.now.strftime('%H:%M:%S.%L')} box_office[#{Process.pid}] #{text}")
$stdout.sync = true

class TicketOrder
  attr_reader :order_id, :show, :seat, :price, :sold_on

  def initialize(order_id:, show:, seat:, price:, sold_on:, promo: nil)
    @order_id, @show, @seat = order_id, show.to_sym, seat
    @price = BigDecimal(price)
    @sold_on = Date.iso8601(sold_on)
    @promo = promo
  end
end

class ErrorQuota
  attr_reader :left

  def initialize(left) = @left = left

  def spend(order) = (@left -= 1).negative? ? raise("no promo quota left for #{order.show}") : order
end

def orders(path)
  Zlib::GzipReader.open(path) do |file|
    file.each_line.map { |line| TicketOrder.new(**JSON.parse(line, symbolize_names: true)) }
  end
end

def seats(all)
  all.group_by(&:show).transform_values do |sold|
    twice = sold.group_by(&:seat).select { |_, same| same.size > 1 }
    raise "seat #{twice.keys.first} of #{sold.first.show} was sold #{twice.values.first.size} times" if twice.any?
    { "seats" => sold.size, "takings" => sold.sum(&:price).to_s("F"), "average" => (sold.sum(&:price) / sold.size).round(2).to_s("F") }
  end
end

settings = JSON.parse(File.read("box_office.json"))
quota = ErrorQuota.new(settings.fetch("promo_quota"))
log "season #{settings['season']}, halls #{settings['halls'].map { |hall| hall['name'] }.join(', ')}"
all = Dir.glob("orders/*.jsonl.gz").sort.flat_map do |path|
  read = orders(path)
  log "#{path}: #{read.size} orders, #{File.size(path)} bytes"
  read
end
log "#{all.size} orders, promo quota #{quota.left}"
shows = seats(all)
shows.each { |show, sums| log "#{show}: #{sums['seats']} seats, #{sums['takings']} EUR, #{sums['average']} on average" }
missing = settings["shows"] - shows.keys.map(&:to_s)
abort "box_office: no order at all for #{missing.join(', ')}, #{shows.size} of #{settings['shows'].size} shows sold" if missing.any?
capacity = settings["halls"].sum { |hall| hall["rows"] * hall["seats_per_row"] }
log "house filled to #{(100.0 * all.size / (capacity * shows.size)).round(1)} %"
archive = File.join(settings["archive"], "season.json.gz")
FileUtils.mkdir_p(settings["archive"])
Zlib::GzipWriter.open(archive, Zlib::NO_COMPRESSION) { |out| out.write(JSON.generate(all.map { |order| [order.order_id, order.seat, order.price.to_s] } * 40)) }
log "archive #{archive}: #{File.size(archive)} bytes"
File.write("shows.json", JSON.pretty_generate(shows))
