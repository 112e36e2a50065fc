# Waits until the owner is gone (its end of standard input closes), then ends the servers whose
# records lie in "$1"/*/*.pid and removes the folder. A record is a copy of /proc/PID/stat.
cat >/dev/null

# Prints the process id and the time of birth of a stat line whose command may hold spaces.
born() {
    read -r line <"$1" || return 1
    pid=${line%% *}
    rest=${line##*) }
    # shellcheck disable=SC2086
    set -- $rest
    [ "$1" != Z ] || return 1
    shift 19
    echo "$pid $1"
}

# Succeeds while the very process of the record "$1" runs; leaves its id in $pid.
runs() {
    recorded=$(born "$1" 2>/dev/null) || return 1
    pid=${recorded% *}
    [ "$recorded" = "$(born "/proc/$pid/stat" 2>/dev/null)" ]
}

for record in "$1"/*/*.pid; do
    runs "$record" || continue
    case $record in
    # An immediate shutdown: PostgreSQL frees its shared memory.
    */primary.pid | */standby.pid) kill -QUIT "$pid" ;;
    *) kill -KILL "$pid" ;;
    esac
done

for record in "$1"/*/*.pid; do
    tries=0
    while runs "$record"; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || kill -KILL "$pid"
        sleep 0.1
    done
done
rm -rf -- "$1"
