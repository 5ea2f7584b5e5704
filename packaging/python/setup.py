"""Adds the C library to the wheel: builds it with CMake, or takes the one in the folder that THREADING_LIBRARY_DIR
names. The wheel works with every version of Python 3, because the module calls the library with ctypes."""

import os
import pathlib
import shutil
import subprocess
import sys

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
SONAME = "libthreading.so.0"


class BuildPy(build_py):
    def run(self):
        super().run()
        library = os.environ.get("THREADING_LIBRARY_DIR")
        if not library:
            library = pathlib.Path(self.build_lib).resolve().with_name("cmake")
            subprocess.run(["cmake", "-S", TOP, "-B", library, "-DTHREADING_BUILD_TESTS=OFF",
                            "-DTHREADING_BUILD_EXAMPLES=OFF", "-DTHREADING_BUILD_MANUAL=OFF"], check=True)
            subprocess.run(["cmake", "--build", library, "--target", "threading-library"], check=True)
        folder = pathlib.Path(self.build_lib) / "threading_c.libs"
        folder.mkdir(exist_ok=True)
        shutil.copy(pathlib.Path(library) / SONAME, folder / SONAME)
        subprocess.run([os.environ.get("STRIP", "strip"), "--strip-unneeded", "--remove-section=.comment",
                        folder / SONAME], check=True)
        for header in ("threading.h", "threading.hpp"):
            shutil.copy(TOP / "include" / header, folder)


class BDistWheel(bdist_wheel):
    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class Binary(Distribution):
    def has_ext_modules(self):
        return True


if sys.platform != "linux":
    sys.exit("threading-c: only Linux is supported")
os.chdir(HERE)
shutil.copy(TOP / "LICENSE", HERE)
(HERE / "build").mkdir(exist_ok=True)
setup(
    options={"egg_info": {"egg_base": "build"}},
    distclass=Binary,
    cmdclass={"build_py": BuildPy, "bdist_wheel": BDistWheel},
    package_dir={"": os.path.relpath(TOP / "c_examples/languages/python", HERE)},
)
