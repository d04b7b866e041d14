import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.math.BigDecimal;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Loads the tariffs from the supplier and the meters' readings from a file, and writes the bills of the day. */
public class MeterLoad {
    private static final Logger log = LoggerFactory.getLogger(MeterLoad.class);

    public static class Tariff {
        public String code;
        public BigDecimal centsPerKwh;
        public BigDecimal baseCents;
        public LocalDateText validFrom;
    }

    public static class LocalDateText {
        public final LocalDate value;

        @com.fasterxml.jackson.annotation.JsonCreator
        public LocalDateText(String text) {
            this.value = LocalDate.parse(text);
        }
    }

    static class StageException extends RuntimeException {
        StageException(String stage, Throwable cause) {
            super("stage " + stage + " failed", cause);
        }
    }

    interface Stage {
        void run() throws Exception;
    }

    private final ObjectMapper mapper = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);
    private final Map<String, Tariff> tariffs = new HashMap<>();
    private final List<String[]> readings = new ArrayList<>();
    private Connection connection;

    void stage(String name, Stage stage) {
        log.info("stage {} begins", name);
        long begin = System.nanoTime();
        try {
            stage.run();
        } catch (Exception problem) {
            throw new StageException(name, problem);
        }
        log.debug("stage {} took {} ms", name, (System.nanoTime() - begin) / 1_000_000);
    }

    void fetchTariffs() throws Exception {
        HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(2)).build();
        HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("TARIFF_URL") + "/tariffs"))
            .timeout(Duration.ofMillis(2500)).build();
        IOException last = null;
        for (int attempt = 1; attempt <= 2; attempt++) {
            try {
                HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
                log.info("GET {} -> {} ({} characters)", request.uri().getPath(), response.statusCode(), response.body().length());
                if (response.statusCode() >= 400) {
                    throw new IOException("HTTP " + response.statusCode() + " " + response.body().strip());
                }
                for (Tariff tariff : mapper.readValue(response.body(), Tariff[].class)) {
                    tariffs.put(tariff.code, tariff);
                }
                log.info("{} tariffs", tariffs.size());
                return;
            } catch (com.fasterxml.jackson.core.JsonProcessingException problem) {
                throw problem;
            } catch (IOException problem) {
                log.warn("attempt {} of 2: {}", attempt, problem.toString());
                last = problem;
            }
        }
        throw last;
    }

    void readReadings() throws IOException {
        try (BufferedReader reader = Files.newBufferedReader(Path.of("readings.csv"))) {
            log.info("header {}", reader.readLine());
            for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                readings.add(line.split(",", -1));
                if (readings.size() % 2000 == 0) {
                    log.info("{} readings in memory", readings.size());
                }
            }
        }
        log.info("{} readings", readings.size());
    }

    void connect() throws SQLException {
        DriverManager.setLoginTimeout(3);
        connection = DriverManager.getConnection(System.getenv("JDBC_URL"), System.getenv("DB_USER"), System.getenv("DB_PASSWORD"));
        connection.setAutoCommit(false);
        log.info("connected to {} {}", connection.getMetaData().getDatabaseProductName(), connection.getMetaData().getDatabaseProductVersion());
    }

    void storeBills() throws SQLException {
        String sql = "INSERT INTO bill (meter_no, billed_on, kwh, tariff_code, cents) VALUES (?, ?, ?, ?, ?)";
        try (PreparedStatement insert = connection.prepareStatement(sql)) {
            int count = 0;
            for (String[] reading : readings) {
                Tariff tariff = tariffs.get(reading[3]);
                BigDecimal kwh = new BigDecimal(reading[2]);
                insert.setInt(1, Integer.parseInt(reading[0]));
                insert.setObject(2, LocalDate.parse(reading[1]));
                insert.setBigDecimal(3, kwh);
                insert.setString(4, reading[3]);
                insert.setBigDecimal(5, tariff == null ? null : tariff.baseCents.add(tariff.centsPerKwh.multiply(kwh)));
                insert.addBatch();
                if (++count % 500 == 0) {
                    insert.executeBatch();
                    log.info("{} bills", count);
                }
            }
            insert.executeBatch();
        }
    }

    void export() throws Exception {
        try (PreparedStatement query = connection.prepareStatement(
                "SELECT m.district, count(*), sum(b.cents) FROM bill b JOIN meter m ON m.meter_no = b.meter_no GROUP BY m.district ORDER BY 1");
                ResultSet result = query.executeQuery();
                BufferedWriter out = Files.newBufferedWriter(Path.of("export/bills.txt"))) {
            while (result.next()) {
                String line = result.getString(1) + ";" + result.getLong(2) + ";" + result.getBigDecimal(3).toPlainString();
                for (int copy = 0; copy < 400; copy++) {
                    out.write(line);
                    out.newLine();
                }
            }
        }
        connection.commit();
        log.info("committed");
    }

    public static void main(String[] arguments) {
        MeterLoad load = new MeterLoad();
        try {
            load.stage("fetch-tariffs", load::fetchTariffs);
            load.stage("read-readings", load::readReadings);
            load.stage("connect", load::connect);
            load.stage("store-bills", load::storeBills);
            load.stage("export", load::export);
        } catch (StageException problem) {
            log.error("job meter-load FAILED", problem);
            System.exit(1);
        }
    }
}
