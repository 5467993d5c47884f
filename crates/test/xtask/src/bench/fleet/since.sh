#!/usr/bin/bash
# When the moved units that run here were started: UNIT and seconds since 1970.
set -eu
for unit in $(systemctl list-units --plain --no-legend --state=active 'moved@*' | cut -d' ' -f1); do
    at=$(systemctl show --timestamp=us+utc --property=ExecMainStartTimestamp --value "$unit")
    echo "$unit $(date --date="$at" +%s.%6N)"
done
