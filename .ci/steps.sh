# Functions of .ci/run and tests/run: lists of steps, each of which is a command. Two lists may run at the same time; a
# failure in one of them stops both. Before a script sources this file, it sets `script` to its name, and `state` to a
# directory for this file.

# Settings of the user for other projects must not affect the tests, and that of the header must not update it.
unset CARGO_BUILD_TARGET CARGO_TARGET_DIR DESTDIR LD_LIBRARY_PATH LD_PRELOAD RUSTFLAGS TEST_FEWER TEST_SLOWNESS \
    THREADING_DEBUG THREADING_PARK UPDATE_HEADER || :

rm -rf "$state"
mkdir -p "$state"
# Shared by the two lists: `steps` has a line for each successful step, and `failed` says what has failed.
: >"$state/steps"
# Each step has a time limit, so that a hang is a failure. On a terminal, the steps must still receive Ctrl-C.
minutes=15
foreground=
[ ! -t 1 ] || foreground=--foreground
# The function whose steps run at the same time as those of the script.
beside=

# fail WHAT LINE...: the message is printed when the script ends, after all other output.
fail() {
    {
        printf '\n%s: FAILED after %s successful steps: %s\n' "$script" "$(wc -l <"$state/steps")" "$1"
        shift
        printf '    %s\n' "$@"
    } >>"$state/failed"
    exit 1
}

# step [--fix HOW] WHAT COMMAND...: runs a command, and exits if it fails, or if a step of the other list has failed.
step() {
    fix=
    if [ "$1" = --fix ]; then
        fix="to fix it: $2"
        shift 2
    fi
    what=$1
    shift
    [ ! -e "$state/failed" ] || exit 1
    printf '\n==== %s\n' "$what"
    printf '+ %s\n' "$*"
    status=0
    timeout $foreground -k 10 $((minutes * 60)) "$@" || status=$?
    case $status in
        0) echo "$what" >>"$state/steps" ;;
        124 | 137) fail "$what" "no end within $minutes minutes; to repeat it:" "$*" ;;
        *) fail "$what" ${fix:+"$fix"} "exit status $status; to repeat it:" "$*" ;;
    esac
}

# long_step WHAT COMMAND...: the same, for a command that installs what is missing, which takes as long as the network
# needs, or that consists of many steps.
long_step() {
    minutes=60
    step "$@"
    minutes=15
}

# run_beside FUNCTION: runs the steps of the function at the same time as the steps that follow.
run_beside() {
    "$1" >"$state/$1.log" 2>&1 &
    beside_process=$!
    beside=$1
}

# await_step WHAT: waits until a step of the other list has succeeded.
await_step() {
    until grep -qxF "$1" "$state/steps"; do
        [ ! -e "$state/failed" ] || exit 1
        sleep 1
    done
}

# join_beside: waits for the steps of `run_beside`, and prints their output.
join_beside() {
    [ -n "$beside" ] || return 0
    status=0
    wait "$beside_process" || status=$?
    cat "$state/$beside.log"
    beside=
    [ "$status" = 0 ] || [ -e "$state/failed" ] || fail "the steps beside the others" "exit status $status"
    [ "$status" = 0 ] || exit 1
}

# The other list also ends if this one fails or is interrupted.
finish() {
    status=$?
    trap - INT TERM HUP
    if [ "$status" != 0 ]; then
        [ -e "$state/failed" ] ||
            printf '\n%s: FAILED: interrupted, or an error of the script\n' "$script" >"$state/failed"
        if [ -n "$beside" ]; then
            printf '\n%s: a step has failed; waiting for the end of the current step beside it\n' "$script"
            wait "$beside_process" || :
            cat "$state/$beside.log"
        fi
        cat "$state/failed" >&2
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
