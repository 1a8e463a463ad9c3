# SPDX-License-Identifier: Apache-2.0
# Completion of the command viv for bash.

_viv()
{
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]} options= words=
    local commands='run ps logs info res attach wait signal stop kill release daemon job store worker version help'
    COMPREPLY=()
    case $previous in
    --engine) words='many fast' ;;
    --use) words='none guest open all' ;;
    --overflow) words='drop_oldest backpressure' ;;
    --sandbox) words='none default strict' ;;
    --net) words='own host' ;;
    --survive) words='env kernel' ;;
    --stream) words='out err both' ;;
    --result) words='exit stdout json' ;;
    --tier) words='durable process inline' ;;
    --dir | --cwd) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    esac
    if [[ -n $words ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        return
    fi
    case $command in
    run) options='--dir --no-dir --env --no-env --no-net --module --entry --bench --max-memory
        --max-fuel --max-time --mailbox --engine --workers --no-cache
        --use --policy --allow --limit --audit --require-audit --store
        --detach --cwd --label --key --json --cpu-time --cpu --pids --files --file-size --output
        --idle --grace --stop-signal --retain --ring --merge --overflow --spill
        --sandbox --net --ro --rw --hide --accept --user --survive' ;;
    ps) options='--all --json' ;;
    logs) options='--follow --lines --since --stream --times --raw --json' ;;
    info) options='--json --native' ;;
    res) options='--env --kind --orphans --tree --follow --json' ;;
    attach) options='--stdin --detach-keys --json' ;;
    wait) options='--timeout --json' ;;
    signal) options='--leader --json' ;;
    stop) options='--grace --release --json' ;;
    kill) options='--json' ;;
    release) options='--all --json' ;;
    daemon) options='--foreground --idle --stop --json --audit --require-audit --held-ok' ;;
    job) options='--id --wasm --entry --beam --external --once --queue --at --deadline --timeout --retry --policy --label --kind
        --cwd --env --result --type --grant --wait --status --phase --since --lines --after --follow --any --key --reason --now
        --force --rights --revoke --transfer --cancel --drop-wakes --before --cursor --dry-run --store --json' ;;
    store) options='--grace --to --store --json' ;;
    worker) options='--slots --ttl --queue --kind --drain --node --once --tier --store --json' ;;
    esac
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -X '!*.wa[st]*' -- "$word")
    elif [[ $command == help ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif [[ $command == res ]] && ((COMP_CWORD == 2)); then
        mapfile -t COMPREPLY < <(compgen -W audit -- "$word")
    elif [[ $command == job ]] && ((COMP_CWORD == 2)); then
        words='start list show events await signal cancel complete abandon grant scope-delete prune changes step'
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    elif [[ $command == store ]] && ((COMP_CWORD == 2)); then
        mapfile -t COMPREPLY < <(compgen -W 'init check stats gc backup' -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -o filenames -o bashdefault -F _viv viv
