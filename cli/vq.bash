# SPDX-License-Identifier: Apache-2.0
# Bash completion of vq.  Commands and options are asked from the program, so that this file never
# lags behind it.
_vq()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} vq=${COMP_WORDS[0]}
    local command=${COMP_WORDS[1]} name arg options=()
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W \
            "$("$vq" --list-commands 2>/dev/null) --help --version" -- "$cur")
        return
    fi
    if [[ $command == help ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$vq" --list-commands 2>/dev/null)" -- "$cur")
        return
    fi
    while IFS=$'\t' read -r name arg; do
        options+=("$name")
        [[ $name == "$prev" ]] || continue
        case $arg in
        '') ;;
        *'|'*) # one of these words; a capital letter stands for a number
            mapfile -t COMPREPLY < <(compgen -W "${arg//|/ }" -- "$cur")
            return ;;
        FILE | OUT | INDEX)
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return ;;
        *) return ;;
        esac
    done < <("$vq" "$command" --list-options 2>/dev/null)
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "${options[*]}" -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}
complete -o filenames -F _vq vq
