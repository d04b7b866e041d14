# Daily river levels: the gauges' files and the station register become one table and a flood bulletin.
suppressPackageStartupMessages({
  library(readr)
  library(dplyr)
  library(DBI)
})
options(warn = 1, readr.show_progress = FALSE, dplyr.summarise.inform = FALSE)

say <- function(...) message(format(Sys.time(), "%Y-%m-%dT%H:%M:%S"), " [gauges] ", sprintf(...))

fetch <- function(path) {
  handle <- curl::new_handle(timeout_ms = 1500)
  curl::handle_setheaders(handle, Authorization = paste("Bearer", Sys.getenv("REGISTER_TOKEN")))
  answer <- curl::curl_fetch_memory(paste0(Sys.getenv("REGISTER_URL"), path), handle)
  body <- rawToChar(answer$content)
  if (answer$status_code >= 400) stop(sprintf("GET %s: HTTP %d: %s", path, answer$status_code, body))
  jsonlite::fromJSON(body)
}

persistently <- function(what, action, attempts = 3) {
  for (attempt in seq_len(attempts)) {
    result <- tryCatch(action(), error = identity)
    if (!inherits(result, "error")) return(result)
    say("%s: attempt %d of %d failed: %s", what, attempt, attempts, conditionMessage(result))
  }
  stop(result)
}

read_gauge <- function(file) {
  levels <- read_csv(file, col_types = cols(
    station = col_character(), measured_at = col_datetime(), level_cm = col_double()
  ))
  say("%s: %d readings, columns %s", file, nrow(levels), paste(names(levels), collapse = ", "))
  levels
}

check_schema <- function(levels) {
  wanted <- c("station", "measured_at")
  absent <- setdiff(wanted, names(levels))
  if (length(absent) > 0) stop("columns absent: ", paste(absent, collapse = ", "))
  levels
}

summarise_day <- function(levels, stations) {
  levels |>
    inner_join(stations, by = "station") |>
    mutate(day = format(as.Date(measured_at)), above_sea_m = zero_m + level_cm / 100) |>
    group_by(station, basin, day) |>
    summarise(mean_m = mean(above_sea_m), peak_m = max(above_sea_m), readings = n(), alarm = any(above_sea_m > alarm_m)) |>
    ungroup()
}

store <- function(daily) {
  warehouse <- dbConnect(RSQLite::SQLite(), Sys.getenv("LEVELS_DB"))
  on.exit(dbDisconnect(warehouse))
  dbBegin(warehouse)
  for (part in split(daily, daily$basin)) {
    written <- dbAppendTable(warehouse, "daily_level", select(part, -alarm))
    say("basin %s: %d rows appended to daily_level", part$basin[1], written)
  }
  dbCommit(warehouse)
}

stations <- persistently("register", function() fetch("/v1/stations"))
say("register: %d stations in %d basins", nrow(stations), n_distinct(stations$basin))
say("register: %s", paste(names(stations), vapply(stations, function(of) class(of)[1], ""), collapse = ", "))
files <- list.files("landing", pattern = "[.]csv$", full.names = TRUE)
say("%d files in landing", length(files))
levels <- check_schema(bind_rows(lapply(files, read_gauge)))
say("%d readings, %d without a level", nrow(levels), sum(is.na(levels$level_cm)))
daily <- summarise_day(levels, stations)
covered <- n_distinct(daily$station) / nrow(stations)
say("summary: %d station days, %.0f %% of the stations", nrow(daily), 100 * covered)
if (covered < 0.8) stop(sprintf("only %.0f %% of the stations reported, 80 %% are needed", 100 * covered))
store(daily)
write_csv(filter(daily, alarm), "out/bulletin.csv")
say("bulletin: %d stations above alarm", sum(daily$alarm))
