#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a job of queue.sh does. What must not be done twice is a step: a later attempt, in another worker, finds that it
# is recorded. (A step whose worker dies between its end and its record is done again; what it does is best made so
# that this shows, as here by one line for each.)
set -eu
case $1 in
plain)
    "$VIV" job step send -- sh -c "echo $VIV_JOB_ID >> '$LEDGER'; echo sent"
    ;;
flaky) [ "$VIV_ATTEMPT" = 3 ] ;;
broken)
    echo "no such address" >&2
    exit 1
    ;;
long)
    for part in 1 2 3 4; do
        "$VIV" job step "part $part" -- sh -c "echo part $part >> '$LEDGER.long'"
    done
    [ "$VIV_ATTEMPT" = 1 ] || exit 0
    touch "$LEDGER.waits" # the first attempt is still at it when its worker dies
    exec sleep 1000
    ;;
once) sleep 0.1 ;;
esac
