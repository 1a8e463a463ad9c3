# SPDX-License-Identifier: Apache-2.0
# Completion of the command viv for bash.

_viv()
{
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]} options=
    COMPREPLY=()
    case $previous in
    --engine) mapfile -t COMPREPLY < <(compgen -W 'many fast' -- "$word"); return ;;
    --use) mapfile -t COMPREPLY < <(compgen -W 'none guest open all' -- "$word"); return ;;
    --dir) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    esac
    case $command in
    run) options='--dir --no-dir --env --no-env --no-net --module --entry --bench --max-memory
        --max-fuel --max-time --mailbox --engine --workers --no-cache
        --use --policy --allow --limit --audit' ;;
    esac
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W 'run help version' -- "$word")
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -X '!*.wa[st]*' -- "$word")
    elif [[ $command == help ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'run help version' -- "$word")
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -o filenames -o bashdefault -F _viv viv
