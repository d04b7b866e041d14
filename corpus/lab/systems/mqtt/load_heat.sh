#!/bin/bash
# Load the night's telemetry; the broker runs on this host, its last lines belong to the report of a failure.
python heat_loader.py
status=$?
if [ $status -ne 0 ]; then
    echo "load_heat: status $status, the broker's last lines:"
    tail -n "${BROKER_LINES:-7}" mosquitto/mosquitto.log
fi
exit $status
