# bash completion for scistreamd, scistreamctl, scistream-send and scistream-recv: source this file, or copy it to
# /etc/bash_completion.d. Options, their choices, configuration keys and commands come from the programs' own tables by --help and
# --print-config when they are asked for, so nothing here needs to follow the programs but the words that follow a command.

# "a|b|c" of an option whose help ends in "(a|b|c, default a)"
_scistream_choices()
{
    "$1" --help 2>/dev/null | tr '\n' ' ' | sed 's/  */ /g; s/ \(-., \)\?--/\n&/g' |
        sed -n "s/^ \(-., \)\?$2 .*(\([a-z0-9-]*\(|[a-z0-9-]*\)\{1,\}\)[,;)].*/\2/p" | tr '|' ' '
}

# keys of scistreamd -o: name=, ucx.devices=
_scistream_keys()
{
    "$1" -c /dev/null --print-config 2>/dev/null | awk '/^[a-z]+ *{$/ { section = $1 "." } /^}/ { section = "" }
        /^ *[a-z_]+ = / { print section $1 "=" }'
}

_scistream_commands() { "$1" --help 2>/dev/null | sed -n '/^Commands:/,/^[^ C]/s/^  \([a-z][a-z]*\) .*/\1/p'; }

# Is one of these words a command?
_scistream_has_command()
{
    local word commands=" $(_scistream_commands "$1" | tr '\n' ' ')"
    for word in "${@:2}"; do
        [[ $commands != *" $word "* ]] || return 0
    done
    return 1
}

_scistream()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=""
    case $prev:$cur in
    -o:* | --option:*)
        if [[ ${1##*/} = scistreamd ]]; then
            words=$(_scistream_keys "$1")
            compopt -o nospace 2>/dev/null
        fi
        ;;
    *:-*) words=$("$1" --help "${COMP_WORDS[@]:1}" 2>/dev/null | sed -n 's/^  \(-., \|    \)\(--[a-z-]*\).*/\2/p') ;;
    --*:*) words=$(_scistream_choices "$1" "$prev") ;;
    show:*) ;; # files
    ticket:*) words=show ;;
    *) _scistream_has_command "$1" "${COMP_WORDS[@]:1:COMP_CWORD-1}" || words=$(_scistream_commands "$1") ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o bashdefault -o default -F _scistream scistreamd scistreamctl scistream-send scistream-recv
