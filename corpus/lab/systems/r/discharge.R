# Discharge of each weir from its rating curve, in base R: read, calibrate, predict, save.
config <- read.dcf("discharge.dcf")
setting <- function(name) unname(config[1, name])
setTimeLimit(cpu = as.numeric(setting("CpuSeconds")))
cat("discharge", setting("Version"), "on", R.version.string, "\n")

gaugings <- read.table(setting("Gaugings"), header = TRUE, sep = ";", dec = ".", fileEncoding = "UTF-8")
cat("gaugings:", nrow(gaugings), "rows\n")
str(gaugings)
readable <- sum(!is.na(suppressWarnings(as.numeric(gaugings$flow))))
cat(sprintf("flow: %d of %d readable as a number\n", readable, nrow(gaugings)))

calibrate <- function(weir) {
  own <- gaugings[gaugings$weir == weir, ]
  curve <- lm(log(flow) ~ log(stage), data = own)
  cat(sprintf("%s: %d gaugings, exponent %.3f, r2 %.3f\n", weir, nrow(own), coef(curve)[2], summary(curve)$r.squared))
  curve
}

spread <- function(weir, curve, draws) {
  own <- gaugings[gaugings$weir == weir, ]
  exponents <- vapply(seq_len(draws), function(draw) {
    coef(lm(log(flow) ~ log(stage), data = own[sample(nrow(own), replace = TRUE), ]))[2]
  }, numeric(1))
  quantile(exponents, c(0.05, 0.95))
}

weirs <- sort(unique(gaugings$weir))
curves <- setNames(lapply(weirs, calibrate), weirs)
for (weir in weirs) {
  band <- spread(weir, curves[[weir]], as.integer(setting("Draws")))
  if (band[2] - band[1] > 3) stop("rating of ", weir, " is too loose")
  cat(sprintf("%s: exponent within %.2f and %.2f\n", weir, band[1], band[2]))
}

stages <- read.csv("stages.csv", colClasses = c("character", "POSIXct", "numeric"))
cat("stages:", nrow(stages), "rows from", format(min(stages$at)), "\n")
grid <- matrix(0, nrow = as.integer(setting("GridCells")), ncol = 8)
cat("interpolation grid:", format(object.size(grid), units = "MB"), "\n")
stages$flow <- NA_real_
for (weir in weirs) {
  rows <- stages$weir == weir
  stages$flow[rows] <- exp(predict(curves[[weir]], stages[rows, ]))
}
monthly <- aggregate(flow ~ weir, stages, sum)
saveRDS(monthly, file.path(setting("Target"), "monthly.rds"), compress = FALSE)
write.csv(stages, file.path(setting("Target"), "flows.csv"), row.names = FALSE)
cat("written:", nrow(monthly), "weirs,", nrow(stages), "flows\n")
