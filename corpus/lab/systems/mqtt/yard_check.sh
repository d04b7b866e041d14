#!/usr/bin/env bash
# Reefer containers on the yard: take the last state that each has left at the broker, book it, alert the reefer crew.
set -u -o pipefail
say() { printf '%(%H:%M:%S)T yard: %s\n' -1 "$*"; }
sub=(-h "$MQTT_HOST" -p "$MQTT_PORT" -u "$MQTT_USER" -P "$MQTT_PASSWORD" ${MQTT_CA:+--cafile "$MQTT_CA"})

say "collecting states from $MQTT_HOST:$MQTT_PORT as $MQTT_USER"
mosquitto_sub "${sub[@]}" -i "yard-$$" -t 'reefer/+/state' -W "${WINDOW_S:-2}" -F '%t;%p' > work/states.txt 2> work/sub.err
rc=$?
cat work/sub.err >&2
# 27: the window is over, that is how it ends every time
if [ $rc -ne 27 ] && [ $rc -ne 0 ]; then
    say "mosquitto_sub ended with $rc"
    exit $rc
fi
say "$(wc -l < work/states.txt) states"
sed 's#^reefer/##; s#/state;#;#' work/states.txt > work/states.csv || exit 1

say "booking"
sqlite3 -bail yard.db < book_states.sql || { rc=$?; say "sqlite3 ended with $rc"; exit $rc; }
python alarms.py || { rc=$?; say "alarms ended with $rc"; exit $rc; }
say "done"
