#!/usr/bin/env bash
# Runs deploy/docker-compose.yml under everything that happens to containers, and says how long it took.
#
#   deploy/test.sh         # all: 20 start orders, each fault with each container; some 25 minutes and the image
#   deploy/test.sh quick   # three start orders, each fault once, an image that is built quickly; some 7 minutes.
#                          # What is slower than allowed is told, and fails when it takes three times as long
#
# It makes networks, volumes and ports of its own, and removes them at the end, whatever happens. Random choices come
# from a seed that is printed: SEED=… repeats a run. KONTOR_IMAGE=… tests that image instead of building one;
# STEPS='start_orders fill wan_cut' runs these steps alone, ORDERS=1 that many start orders.
# Exit code: 0 all holds, 1 something does not, 77 there is no Docker engine or no compose.
set -uo pipefail
cd "$(dirname "$0")/.."

mode=${1:-full}
case "$mode" in
full) orders=20 longest_pause=5000 image_profile=image ;;
quick) orders=3 longest_pause=2500 image_profile=dev ;;
*) echo "usage: deploy/test.sh [quick]" >&2 && exit 2 ;;
esac
orders=${ORDERS:-$orders}
seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$((seed % 32768))

# --- What this run is made of -------------------------------------------------------------------------------------

engine=$(timeout 20 docker version --format '{{.Server.Version}}' 2>/dev/null) || {
    echo "no Docker engine answers: nothing of deploy/ was tested"
    exit 77
}
if docker compose version >/dev/null 2>&1; then
    compose_command=(docker compose)
elif docker-compose version >/dev/null 2>&1; then
    compose_command=(docker-compose)
else
    echo "neither \`docker compose\` nor \`docker-compose\` is there: nothing of deploy/ was tested"
    exit 77
fi
file=deploy/docker-compose.yml
compose() { timeout 180 "${compose_command[@]}" -p "$project" -f "$file" "$@"; }

project=kontor-test-$$
scratch=$(mktemp -d)
logs=${CARGO_TARGET_DIR:-target}/deploy-test
dcs=(dc1 dc2)
servers=(dc1-s1 dc1-s2 dc1-s3 dc2-s1 dc2-s2 dc2-s3)
clients=(dc1-c1 dc1-c2 dc2-c1 dc2-c2)
agents=("${servers[@]}" "${clients[@]}")
# Written to the catalogs so far, in each datacenter; every look at the federation expects them.
declare -A nodes=([dc1]=5 [dc2]=5)
reader=
built=

# --- Telling ------------------------------------------------------------------------------------------------------

rows=()
failures=0
began=$EPOCHSECONDS
say() { printf '%4ds  %s\n' $((EPOCHSECONDS - began)) "$*"; }
now() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }
seconds() { printf '%d.%d' $(($1 / 1000)) $(($1 % 1000 / 100)); }

# A row of the table: what, what was measured, what is allowed, and whether it holds.
row() { # verdict what measured limit
    rows+=("$(printf '%-6s  %-66s  %12s  %s' "$1" "$2" "$3" "$4")")
    say "$1: $2: $3${4:+ (allowed: $4)}"
    [ "$1" != FAILS ] || failures=$((failures + 1))
}

# Something that should be so, without a time.
check() { # what measured expected
    if [ "$2" = "$3" ]; then row ok "$1" "$2" "$3"; else row FAILS "$1" "$2" "$3"; fi
}

within() { # what ms limit_ms
    verdict=FAILS
    # How fast is for the full run on a machine that does nothing else; the quick one tells it.
    if [ "$2" -le "$3" ]; then verdict=ok; elif [ "$mode" = quick ] && [ "$2" -le $(($3 * 3)) ]; then verdict=slow; fi
    row "$verdict" "$1" "$(seconds "$2") s" "$(seconds "$3") s"
    [ "$verdict" != FAILS ]
}

# Tries a command until it succeeds; gives it three times what is allowed, to be able to say how long it would take.
until_holds() { # what limit_ms since_ms command…
    local what=$1 limit=$2 since=$3
    shift 3
    while ! "$@"; do
        if [ $(($(now) - since)) -gt $((limit * 3)) ]; then
            row FAILS "$what" "never" "$(seconds "$limit") s"
            [ -s "$scratch/missing" ] && say "missing: $(head -c 600 "$scratch/missing" | tr '\n' ';')"
            keep_logs "$what"
            return 1
        fi
        sleep 0.2
    done
    within "$what" $(($(now) - since)) "$limit" || keep_logs "$what"
}

keep_logs() { # why
    local folder
    folder=$logs/$(tr -c 'a-z0-9\n' '-' <<<"${1,,}" | cut -c1-60)
    mkdir -p "$folder"
    for agent in "${agents[@]}"; do docker logs --timestamps "$(container "$agent")" >"$folder/$agent.log" 2>&1; done
    cp "$scratch/missing" "$folder/missing" 2>/dev/null
    say "logs of all agents: $folder"
}

# --- The federation under test ------------------------------------------------------------------------------------

# Addresses and ports that nothing on this host uses.
choose_network() {
    local taken second
    taken=$(ip -4 route 2>/dev/null; docker network ls -q | xargs -r docker network inspect --format '{{range .IPAM.Config}}{{.Subnet}} {{end}}')
    while second=$((RANDOM % 120 + 130)); grep -q "\b10\.$second\." <<<"$taken" || [ "10.$second" = "${KONTOR_NET:-}" ]; do :; done
    export KONTOR_NET=10.$second
}
choose_ports() {
    local dc prefix port
    for dc in DC1 DC2; do
        while prefix=$((RANDOM % 110 + 210)); [ "$prefix" = "${KONTOR_DC1_PORTS:-}" ] || ! {
            for port in 00 10 20 40 50; do ! (: <"/dev/tcp/127.0.0.1/$prefix$port") 2>/dev/null || break; done
        }; do :; done
        export "KONTOR_${dc}_PORTS=$prefix"
    done
}

dc_of() { echo "${1%%-*}"; }
other() { [ "$1" = dc1 ] && echo dc2 || echo dc1; }
is_server() { [[ $1 == *-s? ]]; }
url() { # agent
    local prefix=KONTOR_${1%%-*}_PORTS number
    prefix=${prefix^^}
    case "${1#*-}" in s1) number=00 ;; s2) number=10 ;; s3) number=20 ;; c1) number=40 ;; c2) number=50 ;; esac
    echo "http://127.0.0.1:${!prefix}$number"
}
container() { # agent: named so by both versions of compose
    docker ps -aq --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1"
}
pick() { local list=("$@"); echo "${list[RANDOM % ${#list[@]}]}"; }
shuffled() { for item in "$@"; do echo "$((RANDOM * 32768 + RANDOM)) $item"; done | sort -n | cut -d' ' -f2; }
get() { curl -sS -f --max-time 10 "$@" 2>/dev/null; }

cleanup() {
    trap - EXIT INT TERM
    stop_reading
    jobs -p | xargs -r kill 2>/dev/null
    say "removing all that was made"
    docker ps -q --filter "label=com.docker.compose.project=$project" --filter status=paused | xargs -r docker unpause >/dev/null 2>&1
    compose down --volumes --remove-orphans --timeout 0 >/dev/null 2>&1
    [ -n "$built" ] && docker rmi "$built" >/dev/null 2>&1
    rm -rf "$scratch"
}
finish() {
    printf '\n%-6s  %-66s  %12s  %s\n' "" "deploy/test.sh $mode, seed $seed" measured allowed
    printf '%s\n' "${rows[@]}"
    if [ "$failures" -gt 0 ]; then
        printf '\n%d of %d do not hold' "$failures" "${#rows[@]}"
    else
        printf '\nall holds'
    fi
    printf '%s (%d s)\n' "${1:-}" $((EPOCHSECONDS - began))
}
trap 'cleanup; finish ", as far as it came"; exit 130' INT TERM
trap 'cleanup' EXIT

# Whether all agents see all others, both datacenters have leaders, and each answers for both with all its nodes.
federated() {
    local folder=$scratch/look agent dc expected
    rm -rf "$folder"
    mkdir -p "$folder"
    for agent in "${agents[@]}"; do
        dc=$(dc_of "$agent")
        printf 'url = "%s/v1/agent/members"\noutput = "%s/%s.lan"\n' "$(url "$agent")" "$folder" "$agent"
        is_server "$agent" && printf 'url = "%s/v1/agent/members?wan=1"\noutput = "%s/%s.wan"\n' "$(url "$agent")" "$folder" "$agent"
        for asked in "${dcs[@]}"; do
            printf 'url = "%s/v1/status/leader?dc=%s"\noutput = "%s/%s.leader-%s"\n' "$(url "$agent")" "$asked" "$folder" "$agent" "$asked"
            printf 'url = "%s/v1/catalog/nodes?dc=%s"\noutput = "%s/%s.nodes-%s"\n' "$(url "$agent")" "$asked" "$folder" "$agent" "$asked"
        done
    done >"$scratch/look.curl"
    curl -sS -f --max-time 5 --parallel --parallel-max 30 --config "$scratch/look.curl" 2>/dev/null
    for agent in "${agents[@]}"; do
        expect "$agent lan" "$(count '"Status":1[,}]' "$folder/$agent.lan")" 5
        is_server "$agent" && expect "$agent wan" "$(count '"Status":1[,}]' "$folder/$agent.wan")" 6
        for asked in "${dcs[@]}"; do
            expect "$agent leader of $asked" "$(count '[0-9]:8300' "$folder/$agent.leader-$asked")" 1
            expect "$agent nodes of $asked" "$(count '"Node":' "$folder/$agent.nodes-$asked")" "${nodes[$asked]}"
        done
    done >"$scratch/missing"
    [ ! -s "$scratch/missing" ]
}
count() { grep -o "$1" "$2" 2>/dev/null | wc -l; }
expect() { [ "$2" = "$3" ] || echo "$1: $2 of $3"; }

discard() { # the federation, with its data
    compose down --volumes --remove-orphans --timeout 0 >/dev/null 2>&1
    nodes=([dc1]=5 [dc2]=5)
}
bring_up() { # agents…, or all
    compose up -d "$@" >"$scratch/up" 2>&1 && return
    cat "$scratch/up"
    exit 1
}

add_node() { # agent name: an external node in the catalog of the agent's datacenter
    local dc
    dc=$(dc_of "$1")
    get -X PUT -d "{\"Node\":\"$2\",\"Address\":\"192.0.2.1\"}" "$(url "$1")/v1/catalog/register" >/dev/null || return 1
    nodes[$dc]=$((nodes[$dc] + 1))
}

leader() { # dc: the agent that leads
    local agent
    for agent in "${servers[@]}"; do
        [ "$(dc_of "$agent")" = "$1" ] || continue
        get --max-time 2 "$(url "$agent")/v1/agent/self" | grep -q '"leader":"true"' && echo "$agent" && return
    done
}

# --- Reading while things happen ----------------------------------------------------------------------------------

# Reads the service `web` of both datacenters through all agents but those named, four times a second, until told to stop.
start_reading() { # agents not asked
    local agent asked left=" $* "
    local number=0
    : >"$scratch/reads"
    : >"$scratch/failed"
    for agent in "${agents[@]}"; do
        [[ $left == *" $agent "* ]] && continue
        for asked in "${dcs[@]}"; do
            number=$((number + 1))
            printf 'url = "%s/v1/health/service/web?passing&dc=%s"\noutput = "%s/read-%d"\n' "$(url "$agent")" "$asked" "$scratch" $number
        done
    done >"$scratch/reads.curl"
    (
        while [ ! -e "$scratch/reads.stop" ]; do
            curl -sS --max-time 10 --parallel --parallel-max 30 --config "$scratch/reads.curl" \
                --write-out '%{http_code} %{size_download} %{time_total} %{url_effective} %{filename_effective}\n' 2>/dev/null >"$scratch/round"
            cat "$scratch/round" >>"$scratch/reads"
            # An answer is 200 with at least one instance; of others, what they say and when.
            awk '$1 != 200 || $2 < 10' "$scratch/round" | while read -r code size time url file; do
                printf '%(%T)T %s after %s s: %s: %s\n' -1 "$code" "$time" "$url" "$(head -c 200 "$file" 2>/dev/null)" >>"$scratch/failed"
            done
            sleep 0.25
        done
    ) &
    reader=$!
}
stop_reading() {
    [ -n "$reader" ] || return 0
    touch "$scratch/reads.stop"
    wait "$reader"
    rm -f "$scratch/reads.stop"
    reader=
}
# Ends the reading and judges it.
judge_reads() { # what
    stop_reading
    local total failed slowest
    total=$(wc -l <"$scratch/reads")
    failed=$(wc -l <"$scratch/failed")
    slowest=$(awk '$3 > most { most = $3 } END { printf "%.1f", most }' "$scratch/reads")
    if [ "$failed" = 0 ] && [ "$total" -gt 0 ]; then
        row ok "$1: reads through the others go on" "0 of $total" "0 fail; slowest $slowest s"
    else
        row FAILS "$1: reads through the others go on" "$failed of $total" "0 fail; slowest $slowest s"
        head -5 "$scratch/failed"
        keep_logs "$1"
    fi
}

# --- What must hold -----------------------------------------------------------------------------------------------

start_orders() {
    local number since agent order pause
    # All at once first, then so many random orders.
    for ((number = 0; number <= orders; number++)); do
        discard
        if [ "$number" = 0 ]; then
            bring_up
            since=$(now)
            until_holds "compose up -d, then federated" 30000 "$since" federated
            continue
        fi
        bring_up certificates
        docker wait "$(container certificates)" >/dev/null
        mapfile -t order < <(shuffled "${agents[@]}")
        say "start order $number of $orders: ${order[*]}"
        for agent in "${order[@]}"; do
            bring_up --no-deps "$agent"
            pause=$((RANDOM % (longest_pause + 1)))
            [ "$agent" = "${order[-1]}" ] || sleep "$(seconds $pause)"
        done
        since=$(now)
        until_holds "start order $number, federated after the last start" 30000 "$since" federated
    done
}

fill() {
    local agent dc
    for agent in "${clients[@]}"; do
        get -X PUT -d '{"Name":"web","Port":8080}' "$(url "$agent")/v1/agent/service/register" >/dev/null
    done
    for dc in "${dcs[@]}"; do add_node "$dc-c1" "outside-$dc"; done
    until_holds "services and nodes registered, seen by all" 30000 "$(now)" filled
}
filled() {
    local agent dc
    federated || return 1
    for agent in "${agents[@]}"; do
        for dc in "${dcs[@]}"; do
            [ "$(get "$(url "$agent")/v1/health/service/web?passing&dc=$dc" | grep -o '"ServiceName":\|"Service":{' | wc -l)" -ge 2 ] || return 1
        done
    done
}

fault() { # what agent
    local since what="$1 $2" id
    id=$(container "$2")
    [ "$2" = "$(leader "$(dc_of "$2")")" ] && what="$what (leader)"
    say "$what"
    start_reading "$2"
    sleep 1
    case "$1" in
    stop) docker stop --time 20 "$id" >/dev/null && sleep 5 && docker start "$id" >/dev/null ;;
    kill) docker kill "$id" >/dev/null && sleep 8 && docker start "$id" >/dev/null ;;
    pause) docker pause "$id" >/dev/null && sleep 20 && docker unpause "$id" >/dev/null ;;
    restart) docker restart --time 20 "$id" >/dev/null ;;
    esac
    since=$(now)
    until_holds "$what: back by itself" 30000 "$since" federated
    judge_reads "$what"
}
faults() {
    local agent what
    if [ "$mode" = quick ]; then
        fault stop "$(pick "${clients[@]}")"
        fault kill "$(leader "$(pick "${dcs[@]}")")"
        fault pause "$(pick "${servers[@]}")"
        fault restart "$(pick "${agents[@]}")"
        return
    fi
    for what in stop kill pause restart; do
        for agent in "${agents[@]}"; do fault "$what" "$agent"; done
    done
}

new_addresses() {
    local since before=$KONTOR_NET
    say "all stopped, and started at other addresses"
    compose down --timeout 20 >/dev/null 2>&1
    choose_network
    bring_up
    since=$(now)
    until_holds "from $before to $KONTOR_NET: all back, with all data" 30000 "$since" filled
}

# The age that an answer tells of itself, in ms; nothing when there is no answer.
age_of() { # url
    get --max-time 3 -o /dev/null -D - "$1" | tr -d '\r' | sed -n 's/^x-consul-lastcontact: //Ip'
}
wan_cut() {
    local agent ages age last round grown=yes since
    say "network wan cut"
    for agent in "${agents[@]}"; do
        [ "$(dc_of "$agent")" = dc1 ] && get "$(url "$agent")/v1/health/service/web?dc=dc2&stale" >/dev/null
    done
    sleep 1
    for agent in dc2-s1 dc2-s2 dc2-s3; do docker network disconnect "${project}_wan" "$(container "$agent")"; done
    # Asked at once and later: the first one finds links that look alive.
    : >"$scratch/cut"
    for ((round = 1; round <= 4; round++)); do
        for agent in dc1-s1 dc1-s2 dc1-s3 dc1-c1 dc1-c2; do
            curl -s -o /dev/null --max-time 10 --write-out "%{http_code} %{time_total} $agent\n" "$(url "$agent")/v1/health/service/web?dc=dc2" >>"$scratch/cut" &
        done
        wait $(jobs -p | grep -v "^$reader$")
        sleep 1
    done
    check "wan cut: ?dc=dc2 answered although it cannot be" "$(awk '$1 < 400' "$scratch/cut" | wc -l)" 0
    within "wan cut: ?dc=dc2 fails within" "$(awk '$2 * 1000 > most { most = $2 * 1000 } END { printf "%d", most }' "$scratch/cut")" 2000
    for agent in dc1-s1 dc1-s2 dc1-s3 dc1-c1 dc1-c2; do
        ages=
        last=-1
        for ((round = 1; round <= 3; round++)); do
            age=$(age_of "$(url "$agent")/v1/health/service/web?dc=dc2&stale")
            ages+="${age:-none} "
            [ -n "$age" ] && [ "$age" -gt "$last" ] || grown=no
            last=${age:--1}
            sleep 0.5
        done
        say "?dc=dc2&stale through $agent tells ages: $ages"
    done
    check "wan cut: ?dc=dc2&stale goes on, its age grows" "$grown" yes
    [ "$grown" = yes ] || keep_logs "wan cut stale"
    add_node dc2-c1 "while-cut"
    # In another order, so that they get each other's addresses.
    for agent in dc2-s3 dc2-s1 dc2-s2; do
        docker network connect --alias "$agent.wan" "${project}_wan" "$(container "$agent")"
    done
    since=$(now)
    until_holds "wan there again: fresh through all of dc1" 5000 "$since" fresh
    until_holds "wan there again: federated" 30000 "$since" federated
}
fresh() {
    local agent age
    for agent in dc1-s1 dc1-s2 dc1-s3 dc1-c1 dc1-c2; do
        get --max-time 3 "$(url "$agent")/v1/catalog/nodes?dc=dc2" | grep -q '"while-cut"' || return 1
        age=$(age_of "$(url "$agent")/v1/health/service/web?dc=dc2&stale")
        [ -n "$age" ] && [ "$age" -le 2000 ] || return 1
    done
}

server_cut() { # agent
    local dc age last round grown=yes since id name
    dc=$(dc_of "$1")
    id=$(container "$1")
    name=while-$1-cut-$EPOCHSECONDS
    local what="$1 cut off from $dc"
    [ "$1" = "$(leader "$dc")" ] && what="$what (leader)"
    say "$what"
    start_reading "$1"
    docker network disconnect "${project}_$dc" "$id"
    since=$(now)
    until_holds "$what: the others write on" 10000 "$since" add_node "$dc-c1" "$name"
    sleep 3
    check "$what: ?consistent on it is refused" "$(curl -s -o /dev/null --max-time 15 --write-out '%{http_code}' "$(url "$1")/v1/catalog/nodes?consistent")" 500
    last=-1
    for ((round = 1; round <= 3; round++)); do
        age=$(age_of "$(url "$1")/v1/catalog/nodes?stale")
        say "?stale on $1 tells age ${age:-none}"
        [ -n "$age" ] && [ "$age" -gt "$last" ] || grown=no
        last=${age:--1}
        sleep 0.5
    done
    check "$what: ?stale on it answers, its age grows" "$grown" yes
    docker network connect --alias "$1.lan" "${project}_$dc" "$id"
    since=$(now)
    until_holds "$what: healed, it has caught up" 30000 "$since" has_node "$1" "$name"
    until_holds "$what: healed, federated" 30000 "$since" federated
    judge_reads "$what"
}
server_cuts() {
    local dc lead agent
    [ "$mode" = quick ] && { server_cut "$(pick "${servers[@]}")"; return; }
    for dc in "${dcs[@]}"; do
        lead=$(leader "$dc")
        for agent in "$lead" $(shuffled "${servers[@]}" | grep "^$dc" | grep -v "^$lead" | head -1); do server_cut "$agent"; done
    done
}
has_node() { get --max-time 3 "$(url "$1")/v1/catalog/nodes?stale" | grep -q "\"$2\""; }

lost_volume() { # agent
    local old since what="volume of $1 lost"
    say "$what"
    old=$(get "$(url "$1")/v1/agent/self" | grep -o '"NodeID":"[^"]*"' | cut -d'"' -f4)
    start_reading "$1"
    compose rm --stop --force "$1" >/dev/null 2>&1
    docker volume rm "${project}_$1" >/dev/null
    bring_up --no-deps "$1"
    since=$(now)
    until_holds "$what: joined anew and caught up" 30000 "$since" federated
    until_holds "$what: three voters, the old peer is gone" 60000 "$since" three_voters "$(dc_of "$1")" "$old"
    judge_reads "$what"
}
lost_volumes() {
    local agent
    [ "$mode" = quick ] && { lost_volume "$(pick "${servers[@]}")"; return; }
    for agent in "${servers[@]}"; do lost_volume "$agent"; done
}
three_voters() { # dc old-id
    local peers
    peers=$(get "$(url "$1-c1")/v1/operator/raft/configuration")
    [ "$(grep -o '"Voter":true' <<<"$peers" | wc -l)" = 3 ] && [ "$(grep -o '"ID":' <<<"$peers" | wc -l)" = 3 ] && ! grep -q "${2:-nothing}" <<<"$peers"
}

# Restarts every server, the leaders last, while nodes are written and services read through every agent.
rolling_restart() {
    local agent dc lead order since
    say "rolling restart of all servers"
    order=()
    for dc in "${dcs[@]}"; do
        lead=$(leader "$dc")
        for agent in "${servers[@]}"; do [ "$(dc_of "$agent")" = "$dc" ] && [ "$agent" != "$lead" ] && order+=("$agent"); done
        order+=("$lead")
    done
    : >"$scratch/written"
    : >"$scratch/unanswered"
    : >"$scratch/twice"
    : >"$scratch/once"
    : >"$scratch/read"
    rm -f "$scratch/stop"
    for dc in "${dcs[@]}"; do write_on "$dc" & done
    for agent in "${agents[@]}"; do read_on "$agent" & done
    for agent in "${order[@]}"; do
        docker restart --time 20 "$(container "$agent")" >/dev/null
        since=$(now)
        until_holds "rolling restart: $agent is back" 30000 "$since" all_lead
    done
    sleep 1
    touch "$scratch/stop"
    wait
    check "rolling restart: reads that failed twice (of $(wc -l <"$scratch/read"), once: $(wc -l <"$scratch/once"))" "$(wc -l <"$scratch/twice")" 0
    [ -s "$scratch/twice" ] && head -5 "$scratch/twice" && keep_logs "rolling restart"
    local lost=0 written
    for dc in "${dcs[@]}"; do
        get "$(url "$dc-c1")/v1/catalog/nodes?consistent" | grep -o '"Node":"[^"]*"' | cut -d'"' -f4 | sort >"$scratch/have"
        grep "^$dc" "$scratch/written" | sort >"$scratch/acknowledged"
        comm -23 "$scratch/acknowledged" "$scratch/have" >"$scratch/lost"
        lost=$((lost + $(wc -l <"$scratch/lost")))
        nodes[$dc]=$(wc -l <"$scratch/have")
    done
    written=$(wc -l <"$scratch/written")
    check "rolling restart: acknowledged writes lost (of $written; not acknowledged: $(wc -l <"$scratch/unanswered"))" "$lost" 0
    [ "$written" -gt 0 ] || row FAILS "rolling restart: writes" 0 "more than 0"
    until_holds "rolling restart: federated, all data everywhere" 30000 "$(now)" federated
}
# All servers alive and both led; the number of nodes changes meanwhile.
all_lead() {
    federated
    ! grep -v 'nodes of' "$scratch/missing" >/dev/null
}
write_on() { # dc
    local number=0 name agent
    while [ ! -e "$scratch/stop" ]; do
        number=$((number + 1))
        name=$1-written-$number
        agent=$1-c$((number % 2 + 1))
        if get -X PUT -d "{\"Node\":\"$name\",\"Address\":\"192.0.2.2\"}" "$(url "$agent")/v1/catalog/register" >/dev/null; then
            echo "$name" >>"$scratch/written"
        else
            echo "$name" >>"$scratch/unanswered"
        fi
        sleep 0.1
    done
}
# A read that fails is tried once more, at once, through a client of the same datacenter.
read_on() { # agent
    local dc asked other first said=$scratch/said-$1
    dc=$(dc_of "$1")
    while [ ! -e "$scratch/stop" ]; do
        for asked in "${dcs[@]}"; do
            echo >>"$scratch/read"
            if ! reads "$1" "$asked" "$said"; then
                first=$(<"$said.how")
                echo >>"$scratch/once"
                other=$dc-c1
                [ "$1" = "$other" ] && other=$dc-c2
                reads "$other" "$asked" "$said" || echo "$first; then $(<"$said.how")" >>"$scratch/twice"
            fi
        done
        sleep 0.2
    done
}
# Leaves in FILE.how what came of it, and when.
reads() { # agent dc file
    local code
    : >"$3"
    code=$(curl -sS --max-time 10 -o "$3" -w '%{http_code} after %{time_total} s' "$(url "$1")/v1/health/service/web?passing&dc=$2" 2>"$3.error")
    [[ $code == 200* ]] && [ "$(wc -c <"$3")" -gt 10 ] && return
    printf '%(%T)T %s asked for %s: %s: %s' -1 "$1" "$2" "$code" "$(head -c 300 "$3" "$3.error" -q | tr '\n' ' ')" >"$3.how"
    return 1
}

# The other file: one datacenter, with the same names as dc1.
single_datacenter() {
    local since
    discard
    file=deploy/docker-compose.single.yml
    bring_up
    since=$(now)
    until_holds "one datacenter alone: five agents and a leader" 30000 "$since" five_and_a_leader
    compose down --volumes --timeout 0 >/dev/null 2>&1
    file=deploy/docker-compose.yml
}
five_and_a_leader() {
    local agent
    for agent in dc1-s1 dc1-s2 dc1-s3 dc1-c1 dc1-c2; do
        [ "$(get "$(url "$agent")/v1/agent/members" | grep -o '"Status":1[,}]' | wc -l)" = 5 ] || return 1
        [ "$(get "$(url "$agent")/v1/catalog/nodes" | grep -o '"Node":' | wc -l)" = 5 ] || return 1
    done
}

# --- The run ------------------------------------------------------------------------------------------------------

say "engine $engine, ${compose_command[*]}, seed $seed"
if [ -z "${KONTOR_IMAGE:-}" ]; then
    built=kontor-test:$$
    say "building the image, profile $image_profile"
    deploy/build.sh -t "$built" --profile "$image_profile" || exit 1
    export KONTOR_IMAGE=$built
fi
rm -rf "$logs"
choose_network
choose_ports
began=$EPOCHSECONDS
size=$(docker image inspect --format '{{.Size}}' "$KONTOR_IMAGE") || exit 1
if [ "$mode" = full ] && [ -n "$built" ]; then
    if [ "$size" -lt 25000000 ]; then row ok "image" "$size B" "25 MB"; else row FAILS "image" "$size B" "25 MB"; fi
else
    say "image: $size bytes"
fi

for step in ${STEPS:-start_orders fill faults new_addresses wan_cut server_cuts lost_volumes rolling_restart single_datacenter}; do "$step"; done

cleanup
finish
exit $((failures > 0))
