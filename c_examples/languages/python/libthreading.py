"""libthreading for ctypes: the functions of threading.h, with their types.

This module contains no copy of the ABI: it reads threading.h when it is imported. The Python package threading-c has
the library and the header beside this module. Otherwise the loader finds the library by its soname, so LD_LIBRARY_PATH
and ldconfig apply.

    python3 libthreading.py        prints the header's declarations without comments and macros, for other languages
"""

import ctypes
import os
import pathlib
import re
import sys
import types

SONAME = "libthreading.so.0"

_FILE = pathlib.Path(__file__).resolve()
_PACKAGE = _FILE.with_name("threading_c.libs")

# The paths of threading.h: an explicit one, the Python package, the source tree, and the usual installations.
_HEADERS = [
    os.environ.get("THREADING_HEADER", ""),
    _PACKAGE / "threading.h",
    *[folder / "include/threading.h" for folder in list(_FILE.parents)[3:4]],
    "/usr/local/include/threading.h",
    "/usr/include/threading.h",
]

_TYPES = {
    "bool": ctypes.c_bool,
    "char *": ctypes.c_char_p,
    "double": ctypes.c_double,
    "int": ctypes.c_int,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "size_t": ctypes.c_size_t,
    "size_t *": ctypes.POINTER(ctypes.c_size_t),
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "void": None,
    "void *": ctypes.c_void_p,
    "void **": ctypes.POINTER(ctypes.c_void_p),
}


def header():
    """Returns the text of threading.h."""
    for path in filter(os.path.isfile, _HEADERS):
        with open(path, encoding="utf-8") as file:
            return file.read()
    raise FileNotFoundError("threading.h was not found; set THREADING_HEADER to its path")


def declarations(text):
    """Returns the typedefs and prototypes, one per line: the header without comments, macros and inline functions."""
    text = text[:text.index("#if !defined(__cplusplus)")]  # the support for THREADING_WITH is at the end
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r'^#.*$|^extern "C" {$', "", text, flags=re.MULTILINE)
    return [" ".join(declaration.split()) + ";" for declaration in text.split(";")[:-1]]


def constants(text):
    """Returns a dictionary of the numeric constants that the header defines."""
    found = re.findall(r"^#define (THREADING_\w+) \(?(-?[\d.]+)\)?$", text, flags=re.MULTILINE)
    return {name: float(number) if "." in number else int(number) for name, number in found}


def _type(text):
    """Returns the ctypes type of a C type, which may be followed by the name of a parameter."""
    words = re.fullmatch(r"(?:const )?(\w+) ?(\*{0,2})\w*", text.strip())
    name = " ".join(filter(None, words.groups()))
    if name in _TYPES:
        return _TYPES[name]
    if words[2] == "*" and words[1].startswith("threading_"):
        return ctypes.c_void_p  # a handle: a number, or None for NULL
    raise TypeError(f"unknown type in threading.h: {text}")


def _signature(result, parameters):
    parameters = [] if parameters == "void" else parameters.split(", ")
    return [_type(result), *map(_type, parameters)]


def _read(text):
    """Returns a dictionary of the function signatures, and adds the typedefs to _TYPES."""
    functions = {}
    for line in declarations(text):
        if re.match(r"typedef struct ", line):
            continue
        callback = re.fullmatch(r"typedef (.+?)\(\*(\w+)\)\((.*)\);", line)
        alias = re.fullmatch(r"typedef (\w+) (\w+);", line)
        if callback:
            _TYPES[callback[2]] = ctypes.CFUNCTYPE(*_signature(callback[1], callback[3]))
        elif alias:
            _TYPES[alias[2]] = _TYPES[alias[1]]
        else:
            result, name, parameters = re.fullmatch(r"(.+?)(threading_\w+)\((.*)\);", line).groups()
            functions[name] = _signature(result, parameters)
    return functions


_text = header()
_functions = _read(_text)
globals().update(constants(_text))
callbacks = types.SimpleNamespace(  # callbacks.threading_target, ...
    **{name: kind for name, kind in _TYPES.items() if name.startswith("threading_") and name != "threading_status"})


def library_path():
    """Returns the name with which the library is loaded: a path in the Python package, or the soname."""
    path = _PACKAGE / SONAME
    return str(path) if path.is_file() else SONAME


def load(loader):
    """Loads the library by a ctypes loader and declares all functions.

    CDLL releases the interpreter lock during a call: use it for functions that may block. PyDLL does not, which is
    several times faster: use it for functions that never block.
    """
    library = loader(library_path())
    for name, (result, *parameters) in _functions.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = parameters
    return library


if __name__ == "__main__":
    if sys.argv[1:]:
        is_help = sys.argv[1:] in (["-h"], ["--help"])
        print(__doc__.strip(), file=sys.stdout if is_help else sys.stderr)
        sys.exit(0 if is_help else 2)
    for name, number in constants(_text).items():
        if isinstance(number, int):
            print(f"enum {{ {name} = {number} }};")
    print(*declarations(_text), sep="\n")
