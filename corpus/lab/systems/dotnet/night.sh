#!/usr/bin/env bash
# Both imports side by side, their output in one log.
mono --debug PermitImport.exe 2>&1 &
permits=$!
mono MilkIntake.exe 2>&1
milk=$?
wait $permits
permits=$?
echo "night: milk $milk, permits $permits"
[ $milk -eq 0 ] && [ $permits -eq 0 ]
