#!/bin/sh
# What `make demo` runs: index samples/ into .demo/, and ask three questions.
set -eu
cd "$(dirname "$0")/.."
export ALM2VEC_HOME="$PWD/.demo"
ALM2VEC=${ALM2VEC:-alm2vec}

run() {
    printf '\n$ alm2vec'
    for word; do
        case $word in *' '*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '\n'
    "$ALM2VEC" "$@"
}

run index samples
run search "dog barking" -k 3
run search "a rooster" -k 3
run search --like samples/animals/REC_0042.wav -k 4
printf '\nNow your own: %s index FOLDER, then %s search "..."\n' "$ALM2VEC" "$ALM2VEC"
