#!/bin/bash
python fetch_scene.py "$1" &
wait $!
status=$?
echo "scene $1: fetch_scene ended with status $status"
exit $status
