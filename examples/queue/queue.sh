#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A job queue of commands: twelve jobs, two workers of which one is killed, and a check of what came of it.
#
#     examples/queue/queue.sh                     in a file of SQLite
#     examples/queue/queue.sh --postgres URL      the same on a server
#
# `viv` is taken from PATH, or from the variable VIV. Everything lies in a folder that is removed at the end.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
viv=${VIV:-viv}
folder=$(mktemp -d)
workers=
trap '[ -z "$workers" ] || kill $workers; wait; rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

VIV_STORE=sqlite:$folder/queue.db
if [ "${1:-}" = --postgres ]; then
    VIV_STORE=${2:?the url of a server}
fi
export VIV_STORE
"$viv" store init

# task.sh finds these; a job sees a few variables of its worker, and what is set here.
add() { # NAME KIND [OPTION...]
    name=$1 kind=$2
    shift 2
    "$viv" job start --id "$name" --label queue --result stdout "$@" --env VIV="$viv" --env LEDGER="$folder/ledger" \
        -- sh "$here/task.sh" "$kind" > "$folder/started"
}

# ---- twelve jobs ----

for n in 1 2 3 4 5 6 7 8; do
    add "mail-$n" plain
done
add flaky flaky --retry 2     # fails twice
add broken broken --retry 1   # always fails
add long long                 # is at work when its worker is killed
add once once --once          # is never run twice, whatever happens

# ---- two workers ----

"$viv" worker --node one --ttl 3s --slots 4 &
first=$!
"$viv" worker --node two --ttl 3s --slots 4 &
second=$!
workers="$first $second"

# Once the mails are sent, the one that has the long job is killed, as by a power cut.
for n in 1 2 3 4 5 6 7 8; do
    "$viv" job await --timeout 60s "mail-$n" > "$folder/output"
done
until [ -e "$folder/ledger.waits" ]; do sleep 0.1; done
if "$viv" job show --json long | grep -q '"owner_id":"one"'; then
    victim=$first survivor=$second
else
    victim=$second survivor=$first
fi
kill -9 "$victim"
wait "$victim" 2> /dev/null || true
workers=$survivor

# ---- what came of it ----

failed=0
expect() { # WHAT FOUND WANTED
    if [ "$2" = "$3" ]; then
        printf '%-34s %s\n' "$1" "$2"
    else
        printf '%-34s %s, not %s\n' "$1" "$2" "$3"
        failed=1
    fi
}
status_of() {
    if "$viv" job await --timeout 60s "$1" > "$folder/output" 2>&1; then echo completed; else
        case $? in 3) echo failed ;; 5) echo abandoned ;; *) echo "lost: $(cat "$folder/output")" ;; esac
    fi
}
attempts_of() {
    "$viv" job events --type process.attempt_started --json "$1" | wc -l | tr -d ' '
}

for n in 1 2 3 4 5 6 7 8; do
    expect "mail-$n" "$(status_of "mail-$n")" completed
done
expect flaky "$(status_of flaky), attempt $(attempts_of flaky)" "completed, attempt 3"
expect broken "$(status_of broken), attempt $(attempts_of broken)" "failed, attempt 2"
expect long "$(status_of long), attempt $(attempts_of long)" "completed, attempt 2"
once=$(status_of once)
[ "$once" = abandoned ] || once=completed # abandoned: the worker that was killed had it
expect once "$(status_of once)" "$once"
expect "mails sent" "$(sort "$folder/ledger" | uniq | wc -l | tr -d ' ')" 8
expect "mails sent twice" "$(sort "$folder/ledger" | uniq -d | wc -l | tr -d ' ')" 0
expect "steps of long done twice" "$(sort "$folder/ledger.long" | uniq -d | wc -l | tr -d ' ')" 0

kill -TERM "$survivor" # drains, and ends with 0
workers=
if wait "$survivor"; then status=0; else status=$?; fi
expect "the worker's status" "$status" 0
exit "$failed"
