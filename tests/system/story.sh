#!/usr/bin/env bash
# A run's whole life as a person lives it in tmux: launched on two processes, its terminal closed, its app killed, found
# again, stopped, resumed in the app, resumed to the end, pruned. Each step looks at the run directory and at the
# process table.
#
# usage: story.sh [TIMES]     KLADML: the command, kladml-tui unless set.     PYTHON: the interpreter beside it.
set -euo pipefail
KLADML=${KLADML:-kladml-tui}
PYTHON=${PYTHON:-python3}
PATIENCE=${PATIENCE:-90} # seconds that any one thing may take on a busy machine
export OMP_NUM_THREADS=1 LC_ALL=C.UTF-8

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

fail() {
    say "FAILED: $*" >&2
    terminal capture-pane -p >&2 2>/dev/null || true
    [ -z "${run:-}" ] || tail -n 5 "$run/state.json" "$run/console.log" >&2 || true
    exit 1
}

# wait_for WHAT COMMAND…: until the command succeeds
wait_for() {
    local what=$1 deadline=$((SECONDS + PATIENCE))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what"
        sleep 0.1
    done
}

terminal() { tmux -S "$home/socket" "$@"; }
open_terminal() { terminal -f /dev/null new-session -d -x "$columns" -y "$rows" -c "$home/lab" "PS1='prompt> ' sh"; }
press() { terminal send-keys "$@"; }
start_app() { terminal send-keys "$KLADML" Enter; }
shows() { terminal capture-pane -p 2>/dev/null | grep -qE -- "$1"; }
sees() { wait_for "the screen never showed: $1" shows "$1"; }
app_pid() { ps -o pid=,args= -t "$(terminal display-message -p '#{pane_tty}')" | awk '/kladml/ {print $1; exit}'; }

# field NAME: of state.json
field() {
    "$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1])).get(sys.argv[2]))' "$run/state.json" "$1" 2>/dev/null
}
is() { [ "$(field "$1")" = "$2" ]; }
steps() { field step; }
further() { [ "$(steps)" -gt "$1" ]; }
moves() { wait_for "the run stands still $1" further "$(steps)"; }

# Every process of the run names its directory: the launcher, each rank and what they forked.
processes() { pgrep -f -- "$run" | while read -r pid; do [ "$(ps -o stat= -p "$pid" | cut -c1)" = Z ] || echo "$pid"; done; }
gone() { [ -z "$(processes)" ]; }
at_least_three() { [ "$(processes | wc -l)" -ge 3 ]; }
attempts() { find "$run/attempts" -mindepth 1 -maxdepth 1 -type d | wc -l; }
checkpoints() { find "$run/checkpoints" -mindepth 1 -maxdepth 1 -name 'step-*' -type d | wc -l; }

leave() {
    status=$?
    [ -z "${run:-}" ] || processes | xargs -r kill -KILL 2>/dev/null || true
    terminal kill-server 2>/dev/null || true
    [ "$status" -ne 0 ] || rm -rf "$home"
    exit "$status"
}

story() {
    mkdir -p "$home/lab/data/configs"
    touch "$home/lab/kladml.yaml"
    cat >"$home/lab/data/configs/pair.yaml" <<'YAML'
project: story
family: digits
experiment: pair
model: {target: "kladml_core.examples.digits:DigitsCNN", params: {width: 8}}
data: {target: "kladml_core.examples.digits:load"}
training: {max_epochs: 100000, batch_size: 128, checkpoint: {every_epochs: 5, keep_last: 3, keep_best: 1}}
launch: {processes: 2, device: cpu}
YAML
    run=$home/lab/data/projects/story/digits/pair/run_0001

    say "launch a run of two processes in the app"
    open_terminal
    start_app
    sees 't train'
    press t
    wait_for "the run never ran" is status running
    wait_for "the run never stepped" further 0
    at_least_three || fail "two ranks and their launcher are expected: $(processes)"
    [ "$(ps -o ppid= -p "$(field pid)" | tr -d ' ')" != "$(app_pid)" ] || fail "the app is the worker's parent"

    say "close the terminal"
    local app
    app=$(app_pid)
    terminal kill-server
    wait_for "the app outlived its terminal" bash -c "! kill -0 $app 2>/dev/null"
    moves "after its terminal was closed"

    say "open the app again, and kill it"
    open_terminal
    start_app
    sees '1 running'
    app=$(app_pid)
    kill -KILL "$app"
    wait_for "the app is still there" bash -c "! kill -0 $app 2>/dev/null"
    terminal kill-server
    moves "after the app was killed"
    at_least_three || fail "a process is missing: $(processes)"
    is status running || fail "the run says $(field status)"

    say "open it again, and stop the run"
    open_terminal
    start_app
    sees '1 running'
    show_run
    wait_for "no checkpoint was written" bash -c "ls -d '$run'/checkpoints/step-* >/dev/null 2>&1"
    sees 's stop' # the footer offers it once the run under the cursor is known to be live
    press s
    sees 'checkpoint at its next step'
    press s
    wait_for "the run did not stop" is status stopped
    is exit_code 75 || fail "exit code $(field exit_code)"
    wait_for "processes are left: $(processes)" gone
    sees 'run_0001 +stopped'

    say "resume it in the app"
    local stopped
    stopped=$(steps)
    sees 'r resume'
    press r
    wait_for "the run was not resumed" is status running
    wait_for "the resumed run never stepped" further "$stopped"
    [ "$(attempts)" -eq 2 ] || fail "$(attempts) attempts"
    [ "$(find "$run/.." -mindepth 1 -maxdepth 1 -name 'run_*' | wc -l)" -eq 1 ] || fail "resuming made another run"
    sees 'run_0001 +running'
    press q
    sees 'prompt> *$'
    moves "after q"

    say "stop it from the command line"
    (cd "$home/lab" && $KLADML stop pair/run_0001 >"$home/stop.txt" 2>&1) || fail "stop: $(cat "$home/stop.txt")"
    is status stopped || fail "after stop the run says $(field status)"
    gone || fail "after stop these are left: $(processes)"

    say "resume it to the end"
    local epochs
    epochs=$(($(field epoch) + 7))
    (cd "$home/lab" && $KLADML resume pair/run_0001 --set "training.max_epochs=$epochs" >"$home/resume.txt" 2>&1) ||
        fail "resume: $(tail -n 5 "$home/resume.txt")"
    is status finished || fail "the run says $(field status)"
    wait_for "after the end a process is left" gone
    [ "$(attempts)" -eq 3 ] || fail "$(attempts) attempts"
    "$PYTHON" - "$run" "$epochs" <<'PY' || fail "the curve is not one continuous curve"
import json, pathlib, sys
import numpy as np
from kladml_core.metrics.columns import RECORD
run, epochs = pathlib.Path(sys.argv[1]), int(sys.argv[2])
records = np.fromfile(run / "metrics" / "val%2Floss.bin", dtype=RECORD)
events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
cuts = [(event["offsets"]["val/loss"] // RECORD.itemsize, event["step"]) for event in events if event["kind"] == "resumed"]
kept = [r for i, r in enumerate(records) if all(i >= offset or r["step"] <= step for offset, step in cuts)]
steps = sorted({int(r["step"]) for r in kept})
assert len(cuts) == 2, cuts
gaps = set(np.diff(steps).tolist())
assert len(steps) >= epochs - 1 and len(gaps) == 1, (len(steps), epochs, gaps)
PY

    say "prune its checkpoints"
    local before
    before=$(checkpoints)
    [ "$before" -ge 3 ] || fail "only $before checkpoints to prune"
    (cd "$home/lab" && $KLADML prune >"$home/dry.txt" 2>&1) || fail "prune: $(cat "$home/dry.txt")"
    [ "$(checkpoints)" -eq "$before" ] || fail "the dry run removed something"
    (cd "$home/lab" && $KLADML prune --yes >"$home/prune.txt" 2>&1) || fail "prune: $(cat "$home/prune.txt")"
    [ "$(checkpoints)" -lt "$before" ] || fail "nothing was pruned"
    [ "$(checkpoints)" -ge 1 ] || fail "everything was pruned"
    (cd "$home/lab" && $KLADML prune --undo >"$home/undo.txt" 2>&1) || fail "undo: $(cat "$home/undo.txt")"
    [ "$(checkpoints)" -eq "$before" ] || fail "undo brought back $(checkpoints) of $before checkpoints"
    say "told: the curve is whole, no process is left"
    terminal kill-server 2>/dev/null || true
}

# The app comes back where it was left, on the config; the experiment that holds the run is above it in the tree.
show_run() {
    local tries=0
    until shows 'run_0001 +running'; do
        tries=$((tries + 1))
        [ "$tries" -le 12 ] || fail "the run is not found in the tree"
        press k
        sleep 0.3
    done
}

trap leave EXIT
for time in $(seq "${1:-1}"); do
    home=$(mktemp -d)
    # Both sizes of terminal take turns.
    if [ $((time % 2)) -eq 1 ]; then columns=160 rows=48; else columns=80 rows=24; fi
    export XDG_CACHE_HOME=$home/cache XDG_CONFIG_HOME=$home/config XDG_STATE_HOME=$home/state
    say "story $time, on ${columns}x$rows"
    story
    run=''
    rm -rf "$home"
done
