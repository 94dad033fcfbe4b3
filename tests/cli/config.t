#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# criu's configuration files as seen from outside: which are read, in which order, and what is said
# of one that is wrong.  --stream and --no-stream show which file had the last word.
. "$(dirname "$0")/lib.sh"

mkdir -p "$HOME/.criu"
conf=$HOME/.criu/default.conf
stream() { is 1 && says "--stream cannot be used"; }
# The images are not there: what is said when nothing refused before.
no_stream() { is 1 && says "$tmp/none"; }
try() { run lazy-pages -D "$tmp/none" "$@"; }

try
ok "no file at all" no_stream
echo stream >"$conf"
try
ok "\$HOME/.criu/default.conf is read" stream
try --no-stream
ok "the command line wins" no_stream
try --no-default-config
ok "--no-default-config leaves it out" no_stream
try --config "$tmp/absent"
ok "so does --config, of a file that is absent as well" no_stream
echo no-stream >"$tmp/env.conf"
export CRIU_CONFIG_FILE=$tmp/env.conf
try
ok "\$CRIU_CONFIG_FILE wins over the default" no_stream
echo stream >"$tmp/arg.conf"
try --config "$tmp/arg.conf"
ok "--config wins over \$CRIU_CONFIG_FILE" stream
try --config="$tmp/arg.conf"
ok "--config=FILE as well" stream
try --config "$tmp/arg.conf" --no-stream
ok "... and the command line over both" no_stream
echo stream >"$tmp/env.conf"
try --no-default-config
ok "--no-default-config does not leave \$CRIU_CONFIG_FILE out" stream
unset CRIU_CONFIG_FILE
rm "$conf"

# lines TEXT: a file with that text, given with --config.
lines() {
	printf '%b' "$1" >"$tmp/c.conf"
	run lazy-pages --config "$tmp/c.conf" -D "$tmp/none"
}
lines '# stream\n\n   \t\n#stream\n'
ok "comments and empty lines" no_stream
lines '   stream   # and a comment\n'
ok "blanks before, comment behind" stream
lines 'stream'
ok "no newline at the end" stream
lines 'stream\r\n'
ok "lines that end as on other systems" stream
lines 'no-such-thing\n'
ok "an unknown option: status 2" is 2
ok "... with file and line" says "$tmp/c.conf:1: unknown or ambiguous option '--no-such-thing'"
lines '\n# x\nwork-dir\n'
ok "an argument is missing: file and line" says "$tmp/c.conf:3: option '--work-dir' needs an argument"
lines 'log-file "a b\n'
ok "a quote is not closed: file and line" says "$tmp/c.conf:1: a quote is not closed"
ok "... status 2" is 2
lines 'tls-cacert /x\ntls\nps-socket 3\n'
ok "what serves other actions is not refused in a file" no_stream
lines 'page-server\n'
ok "page-server is" says "--page-server: pages from a page server are not served yet"
mkdir "$tmp/dir"
run lazy-pages --config "$tmp/dir"
ok "a directory is no file: status 2" is 2
ok "... named" says "$tmp/dir: Is a directory"
finish
