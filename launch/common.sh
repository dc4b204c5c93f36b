# shellcheck shell=bash
# Sourced by the other scripts: takes --dry-run off the arguments, wherever it stands.

dry=""
for word; do
  shift
  if [ "$word" = --dry-run ]; then dry=yes; else set -- "$@" "$word"; fi
done

# do_it COMMAND...: runs it, or prints it as one could type it.
do_it() {
  if [ -z "$dry" ]; then
    "$@"
  else
    local word
    for word in "$@"; do
      [[ $word =~ ^[[:alnum:]_./:=,+~-]+$ ]] || word=${word@Q}
      printf '%s ' "$word"
    done
    printf '\n'
  fi
}

# need VARIABLE WHAT: ends with one line unless the variable is set; a dry run goes on with its name for a value.
need() {
  [ -z "${!1:-}" ] || return 0
  if [ -z "$dry" ]; then
    echo "error: $1 is not set; export it: $2" >&2
    exit 2
  fi
  printf -v "$1" %s "$1"
}

# one_word ARGUMENT...: ends with the usage where there is anything but one word.
one_word() {
  [ $# = 1 ] || usage
}

# usage: shows the comment at the top of the script and ends.
usage() {
  awk 'NR > 1 && !/^#/ { exit } NR > 1' "$0"
  exit 2
}
