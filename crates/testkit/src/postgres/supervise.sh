# Runs the server that the remaining arguments name and stops it when the heartbeat file has not been touched
# for the given minutes. The lock keeps a test process from choosing a server that is about to stop.
lock=$1 run=$2 beat=$3 minutes=$4 pause=$5
shift 5
"$@" >>"$run/server.log" 2>&1 </dev/null &
server=$!
trap 'kill -INT "$server" 2>/dev/null' TERM INT HUP
idle() { [ -z "$(find "$beat" -mmin "-$minutes" 2>/dev/null)" ]; }
while kill -0 "$server" 2>/dev/null; do
    sleep "$pause" &
    wait $!
    idle || continue
    exec 9<"$lock" || exec 9</dev/null
    command -v flock >/dev/null && flock 9
    if idle; then
        kill -INT "$server" 2>/dev/null
        wait "$server"
        rm -rf "$run"
    fi
    exec 9<&-
done
