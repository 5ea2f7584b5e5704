"""Draws a chart of results: the performance of libthreading relative to the best peer, and to pthread.

    picture.py results.csv results.svg
"""

import csv
import math
import sys
from html import escape

OURS = "libthreading"
NOT_COMPARED = {"CPython", "inline limit", "empty call", "libuv batched", "other libthreading"}
LEFT_OUT = {"idle", "timer.burst-threads.10k"}  # these do not measure speed
TITLES = {
    "lock": "Lock",
    "rlock": "RLock",
    "condition": "Condition",
    "event": "Event",
    "semaphore": "Semaphore",
    "barrier": "Barrier",
    "thread": "Thread",
    "local": "Local",
    "create": "Create, free",
    "timer": "Timer",
    "load": "Load",
}
WORDS = {
    "lock.pair": "acquire, release",
    "lock.try-pair": "try, release",
    "lock.try-fails": "try that fails",
    "lock.timed": "with a timeout",
    "lock.cold": "131,072 cold locks",
    "lock.contended.2": "2 threads contend",
    "lock.contended.4": "4 threads contend",
    "lock.contended.16": "16 threads contend",
    "lock.contended.64": "64 threads contend",
    "lock.worst-wait.64": "64 threads, longest wait",
    "lock.share.64": "64 threads, least share",
    "rlock.first": "acquire, release",
    "rlock.nested": "nested",
    "condition.notify": "notify, no waiters",
    "condition.notify_all": "notify all, no waiters",
    "condition.pingpong.1core": "ping-pong, one core",
    "condition.pingpong.2cores": "ping-pong, two cores",
    "condition.broadcast.8": "notify 8",
    "condition.broadcast.64": "notify 64",
    "condition.broadcast.512": "notify 512",
    "event.is-set": "is_set",
    "event.wait": "wait when set",
    "event.set": "set when set",
    "event.pingpong.1core": "ping-pong, one core",
    "event.pingpong.2cores": "ping-pong, two cores",
    "semaphore.pair": "release, acquire",
    "semaphore.pingpong.1core": "ping-pong, one core",
    "semaphore.pingpong.2cores": "ping-pong, two cores",
    "semaphore.buffer.1x1": "bounded buffer, 1 to 1",
    "semaphore.buffer.4x4": "bounded buffer, 4 to 4",
    "barrier.2": "2 threads",
    "barrier.8": "8 threads",
    "barrier.32": "32 threads",
    "thread.start-join": "start, join",
    "thread.start-join.unpinned": "start, join: median",
    "thread.start-join.threads2": "2 threads start, join",
    "thread.start-join.threads4": "4 threads start, join",
    "thread.burst.1000": "1000 starts, then joins",
    "thread.memory": "memory per thread",
    "local.get": "get",
    "local.set": "set",
    "local.set.2": "set, 2 threads",
    "local.set.4": "set, 4 threads",
    "local.set-attr": "set an attribute",
    "local.get-attr": "get an attribute",
    "create.lock": "Lock",
    "create.lock.2": "Lock, 2 threads",
    "create.lock.4": "Lock, 4 threads",
    "create.rlock": "RLock",
    "create.event": "Event",
    "create.semaphore": "Semaphore",
    "create.semaphore.2": "Semaphore, 2 threads",
    "create.semaphore.4": "Semaphore, 4 threads",
    "create.condition": "Condition with its lock",
    "create.barrier": "Barrier",
    "create.local": "Local",
    "create.thread": "Thread, not started",
    "timer.pair.0": "arm, cancel",
    "timer.pair.10k": "arm, cancel, 10,000 pending",
    "timer.pair.1M": "arm, cancel, 1 M pending",
    "timer.pair.threads1": "arm, cancel: rate of 1 thread",
    "timer.pair.threads4": "of 4 threads",
    "timer.churn.10k": "churn, 10,000 pending",
    "timer.churn.1M": "churn, 1 M pending",
    "timer.burst.10k": "10,000 due together",
    "timer.late.p50": "lateness, median",
    "timer.late.p99": "lateness, 99th percentile",
    "timer.blocked": "lateness, one blocks",
    "timer.memory": "memory per timer",
    "load.lock": "until the first lock",
    "load.thread": "until the first thread",
    "load.resident": "resident memory",
    "load.own": "the part without files",
}

# The chart has a background, so that it looks the same on light and dark pages.
PAPER, INK, FAINT, GRID, LINE = "#fbfaf7", "#22262b", "#6b7280", "#e3e1da", "#22262b"
BETTER, WORSE, PTHREAD = "#1f7a5c", "#c2622d", "#9db4c8"
FONT = "font-family='Helvetica, Arial, sans-serif'"
WIDTH, LABELS, NUMBERS, TOP = 860, 190, 150, 96
ROW, BAR, THIN, TITLE = 21, 9, 4, 27


def read(file):
    """Returns the rows in order: the name, which values are better, and the values of the peers."""
    rows = {}
    with open(file, encoding="utf-8") as lines:
        for record in csv.DictReader(line for line in lines if not line.startswith("#")):
            row = rows.setdefault(record["row"], (record["better"], {}))
            row[1][record["peer"]] = float(record["value"])
    return rows


def ratio(better, ours, theirs):
    if not ours or not theirs:
        return None
    return ours / theirs if better == "more" else theirs / ours


def compare(rows):
    """Yields for each row: its name, the ratio to the best peer, the name of that peer, and the ratio to pthread."""
    for name, (better, values) in rows.items():
        if OURS not in values or name in LEFT_OUT:
            continue
        ratios = {peer: ratio(better, values[OURS], value) for peer, value in values.items() if peer != OURS}
        compared = {peer: value for peer, value in ratios.items() if value and peer not in NOT_COMPARED}
        if compared:
            best = min(compared, key=compared.get)
            yield name, compared[best], best, ratios.get("pthread")


def format_ratio(value):
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


class Scale:
    """A logarithmic scale for the values, from at least 1/LIMIT to at most LIMIT. Longer bars end in an arrow."""

    LIMIT = 16

    def __init__(self, values):
        self.low = max(2 ** math.floor(math.log2(min(values + [0.5]))), 1 / self.LIMIT)
        self.high = min(2 ** math.ceil(math.log2(max(values + [4]))), self.LIMIT)
        self.left, self.right = LABELS, WIDTH - NUMBERS

    def x(self, value):
        value = min(max(value, self.low), self.high)
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self.left + part * (self.right - self.left)

    def ticks(self):
        count = round(math.log2(self.high / self.low))
        step = 2 if count > 8 else 1
        exponent = round(math.log2(self.low))
        return [2.0**e for e in range(exponent, exponent + count + 1) if e % step == 0]


def text(x, y, words, size, color=INK, anchor="start", weight="normal"):
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' fill='{color}' text-anchor='{anchor}'"
        f" font-weight='{weight}'>{escape(words)}</text>"
    )


def rectangle(x, y, width, height, color):
    return f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height}' fill='{color}'/>"


def upright(x, top, bottom, color, width=1.0):
    return (
        f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{top}' y2='{bottom}' stroke='{color}' stroke-width='{width}'/>"
    )


def bar(scale, value, y, height, color):
    left, right = sorted((scale.x(1), scale.x(value)))
    drawn = rectangle(left, y, max(right - left, 1), height, color)
    if not scale.low <= value <= scale.high:
        end, tip = (left, left - 8) if value < 1 else (right, right + 8)
        corners = f"{end:.1f},{y - 1:.1f} {tip:.1f},{y + height / 2:.1f} {end:.1f},{y + height + 1:.1f}"
        drawn += f"<polygon points='{corners}' fill='{color}'/>"
    return drawn


LEGEND = (
    (BETTER, BAR, "the best peer of each row", 195),
    (WORSE, BAR, "the best peer, if it is better", 235),
    (PTHREAD, THIN, "pthread", 90),
)


def legend():
    x, y = 16, 60
    parts = [text(x, y, "Performance relative to", 12, FAINT)]
    x += 180
    for color, height, words, space in LEGEND:
        parts.append(rectangle(x, y - 4.5 - height / 2, 14, height, color))
        parts.append(text(x + 20, y, words, 12, FAINT))
        x += space
    return parts


def machine(file):
    """Returns a short description of the machine, from the first lines of the results."""
    facts = {}
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("# ") and ": " in line:
                key, value = line[2:].strip().split(": ", 1)
                facts[key] = value
    return ", ".join(facts[key] for key in ("processor", "kernel", "pthread", "compiler") if key in facts)


def draw(figures, caption):
    values = [value for _, best, _, pthread in figures for value in (best, pthread) if value]
    scale = Scale(values)
    body, y, group = [], TOP, None
    for name, best, best_peer, pthread in figures:
        kind = name.split(".")[0]
        if kind != group:
            group = kind
            y += TITLE
            body.append(text(16, y - 7, TITLES.get(kind, kind), 13, INK, weight="bold"))
        label = WORDS.get(name, name[len(kind) + 1:])
        body.append(text(scale.left - 10, y + 11, label, 12, INK, "end"))
        color = BETTER if best >= 1 else WORSE
        body.append(bar(scale, best, y + 2, BAR, color))
        if pthread:
            body.append(bar(scale, pthread, y + 2 + BAR, THIN, PTHREAD))
        body.append(text(scale.right + 12, y + 11, format_ratio(best), 12, color, weight="bold"))
        body.append(text(scale.right + 50, y + 11, best_peer, 12, FAINT))
        y += ROW
    height = y + 52
    grid = []
    for tick in scale.ticks():
        x = scale.x(tick)
        words = f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}"
        grid.append(upright(x, TOP - 8, y + 4, GRID))
        grid += [text(x, at, words, 11, FAINT, "middle") for at in (TOP - 14, y + 18)]
    line = upright(scale.x(1), TOP - 8, y + 4, LINE, 1.4)
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}'",
            f"    viewBox='0 0 {WIDTH} {height}' {FONT}>",
            f"<rect width='{WIDTH}' height='{height}' rx='10' fill='{PAPER}'/>",
            text(16, 30, "libthreading and its peers", 18, INK, weight="bold"),
            *legend(),
            text(scale.right + 12, TOP - 14, "the best peer", 11, FAINT),
            *grid,
            *body,
            line,
            text(16, height - 12, caption, 11, FAINT),
            "</svg>\n",
        ]
    )


def main(source, target):
    figures = list(compare(read(source)))
    if not figures:
        print("==> no chart: no case has results of libthreading and of another library", file=sys.stderr)
        return
    with open(target, "w", encoding="utf-8") as out:
        out.write(draw(figures, machine(source)))
    print(f"==> chart: {target}", file=sys.stderr)


if __name__ == "__main__":
    if "-h" in sys.argv or "--help" in sys.argv:
        print(__doc__.strip())
        sys.exit(0)
    if len(sys.argv) != 3 or any(argument.startswith("-") for argument in sys.argv[1:]):
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
