# shellcheck shell=bash
# Sourced by the other scripts: takes --dry-run off the arguments.

dry=""
if [ "${1:-}" = --dry-run ]; then
  dry=yes
  shift
fi

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
    echo "error: export $1=$2" >&2
    exit 2
  fi
  printf -v "$1" %s "$1"
}

# usage: shows the comment at the top of the script and ends.
usage() {
  awk 'NR > 1 && !/^#/ { exit } NR > 1' "$0"
  exit 2
}
