#!/usr/bin/env python3
"""Draws a trace, as Perfetto shows it: the picture in docs/when-it-hangs.md.

tests/dump/traced.c writes the trace of the picture: traced picture trace.json.
"""

import argparse
import json
from html import escape

WIDTH, LEFT, TRACK, SLICE, TOP, WAKER = 960, 96, 44, 20, 34, 3
COLORS = {"lock": "#c2643f", "rlock": "#a8503a", "condition": "#8d6cab", "event": "#4f8a5b", "semaphore": "#b08a2e",
          "barrier": "#3f7cac", "thread": "#6b7280"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", metavar="TRACE", help="a trace, in JSON")
    parser.add_argument("picture", metavar="PICTURE", help="the file to write, in SVG")
    arguments = parser.parse_args()
    with open(arguments.trace, encoding="utf-8") as file:
        events = json.load(file)
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    timed = [event for event in events if "ts" in event]
    tracks = sorted({event["tid"] for event in timed})
    first = min(event["ts"] for event in timed)
    last = max(event["ts"] + event.get("dur", 0) for event in timed)
    scale = (WIDTH - LEFT - 12) / (last - first)
    height = TOP + TRACK * len(tracks) + 6

    def x(time):
        return LEFT + (time - first) * scale

    def y(thread):
        return TOP + TRACK * tracks.index(thread) + 8

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           'font-family="Roboto, Helvetica, Arial, sans-serif" font-size="11">',
           f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
           '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
           '<path d="M0 0 L8 4 L0 8 z" fill="#1f2937"/></marker></defs>']
    step = 10_000
    for tick in range(0, int(last - first) + 1, step):
        out.append(f'<path d="M{x(first + tick):.1f} 22 V{height}" stroke="#e5e7eb"/>'
                   f'<text x="{x(first + tick) + 3:.1f}" y="16" fill="#6b7280">{tick // 1000} ms</text>')
    for thread in tracks:
        out.append(f'<path d="M0 {y(thread) - 8} H{WIDTH}" stroke="#d1d5db"/>'
                   f'<text x="8" y="{y(thread) + 14}" fill="#111827">{escape(names.get(thread, str(thread)))}</text>')
    for event in timed:
        if event["ph"] == "X" and event["cat"] == "wait":
            width, kind = event["dur"] * scale, event["args"].get("object", "")
            letters = int((width - 6) / 5.6)
            label = event["name"] if len(event["name"]) <= letters else event["name"][:max(letters - 1, 0)] + "\u2026"
            out.append(f'<rect x="{x(event["ts"]):.1f}" y="{y(event["tid"])}" width="{max(width, 1):.1f}" '
                       f'height="{SLICE}" fill="{COLORS.get(kind, "#9ca3af")}"><title>{escape(event["name"])}</title>'
                       '</rect>')
            if letters > 3:
                out.append(f'<text x="{x(event["ts"]) + 4:.1f}" y="{y(event["tid"]) + 14}" fill="#ffffff">'
                           f'{escape(label)}</text>')
        elif event["ph"] == "X" and event["dur"] == 0:
            out.append(f'<circle cx="{x(event["ts"]):.1f}" cy="{y(event["tid"]) + SLICE // 2}" r="{WAKER}" '
                       f'fill="#1f2937"><title>{escape(event["name"])}</title></circle>')
    begun = {event["id"]: event for event in timed if event["ph"] == "s"}
    for event in timed:
        if event["ph"] == "f":
            source = begun[event["id"]]
            down = y(event["tid"]) > y(source["tid"])
            start = y(source["tid"]) + SLICE // 2 + (WAKER if down else -WAKER)
            end = y(event["tid"]) + (0 if down else SLICE)
            out.append(f'<path d="M{x(source["ts"]):.1f} {start} L{x(event["ts"]):.1f} {end}" stroke="#1f2937" '
                       'stroke-width="1.2" fill="none" marker-end="url(#end)"/>')
    out.append("</svg>")
    with open(arguments.picture, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
