#!/usr/bin/env python3
"""Runs the 21 programs of the article with threading_c, and checks their output like that of the C programs.

    python3 article.py FOLDER [NAME...]

FOLDER contains the programs of the article, in Python 2: threading_simple.py and so on. Each is changed as follows:
`import threading` becomes `import threading_c as threading` and, because this is Python 3, `print x` becomes a call of
print. The output must pass the checks of tests/docs/examples.py for the C programs.
"""

import os
import pathlib
import re
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "tests/docs"))

import examples  # noqa: E402

# The output of the programs in Python 3, and the corresponding output of the C programs.
REPLACEMENTS = [
    (re.compile(r"<__main__\.MyLocal object at "), "<MyLocal object at "),
    (re.compile(r"^Second try: True"), "Second try: 1"),
]


def converted(program):
    program, imports = re.subn(r"^import threading$", "import threading_c as threading", program, flags=re.MULTILINE)
    if imports != 1:
        raise SystemExit(f"imports threading {imports} times")
    # As one string, because Python 3 writes the end of a line separately, and another thread may write in between.
    call = r'\1print(" ".join(map(str, (\2,))) + "\\n", end="")'
    return re.sub(r"^(\s*)print (.*)$", call, program, flags=re.MULTILINE)


class Run(examples.Run):
    """A run whose output is converted to that of the C program. main() replaces examples.Run with it."""

    def _read(self, pipe, lines):
        super()._read(pipe, lines)
        for pattern, replacement in REPLACEMENTS:
            lines[:] = [line._replace(text=pattern.sub(replacement, line.text)) for line in lines]


def main():
    if "-h" in sys.argv or "--help" in sys.argv:
        print(__doc__.strip())
        sys.exit(0)
    if len(sys.argv) < 2 or any(argument.startswith("-") for argument in sys.argv[1:]):
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    folder, *names = sys.argv[1:]
    examples.Run = Run
    os.environ["PYTHONPATH"] = str(HERE)
    stall_detector = examples.StallDetector()
    stall_detector.start()
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        for name in names or examples.CHECKS:
            program = pathlib.Path(directory, f"{name}.py")
            text = pathlib.Path(folder, f"{name}.py").read_text(encoding="utf-8")
            program.write_text(converted(text), encoding="utf-8")
            wrong, seconds = examples.judge(name, [sys.executable, str(program)], False, stall_detector)
            print(f"{name}: FAILED: {wrong}" if wrong else f"{name}: ok, {seconds:.1f} s", flush=True)
            failed += wrong is not None
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
