# bash completion for scistreamd, scistreamctl, scistream-send and scistream-recv: source this file, or copy it to
# /etc/bash_completion.d. Options come from --help when they are asked for, so nothing here needs to follow the programs.

_scistream()
{
    local cur=${COMP_WORDS[COMP_CWORD]} words
    case $cur in
    -*) words=$("$1" --help 2>/dev/null | sed -n 's/^  \(-., \|    \)\(--[a-z-]*\).*/\2/p') ;;
    *) words=$("$1" --help 2>/dev/null | sed -n '/^Commands:/,/^[^ C]/s/^  \([a-z]*\) .*/\1/p') ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o bashdefault -o default -F _scistream scistreamd scistreamctl scistream-send scistream-recv
