"""The Conan recipe: `conan create packaging/conan`. Builds the library of this repository with cargo and CMake."""

import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load, rm, rmdir

required_conan_version = ">=2.0"


class Libthreading(ConanFile):
    name = "libthreading"
    description = "Python's threading module for C"
    license = "MIT OR Apache-2.0"
    homepage = "https://libthreading.invalid"
    topics = ("threading", "lock", "timer", "condition")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False]}
    default_options = {"shared": True}
    languages = "C"

    def _top(self):
        return os.path.join(self.recipe_folder, "..", "..")

    def set_version(self):
        manifest = load(self, os.path.join(self._top(), "Cargo.toml"))
        self.version = self.version or re.search(r'^version = "(.*)"$', manifest, re.M)[1]

    def export_sources(self):
        for pattern in ("Cargo.*", "CMakeLists.txt", "LICENSE", "build.rs", "src/*", "include/*", "cmake/*", "tools/*",
                        "packaging/CMakeLists.txt", "packaging/debian/*", "debian/copyright", "CHANGELOG.md"):
            copy(self, pattern, self._top(), self.export_sources_folder)

    def validate(self):
        if self.settings.os != "Linux":
            raise ConanInvalidConfiguration("libthreading: only Linux is supported")

    def package_id(self):
        # The interface of the library is C, and cargo selects the optimization.
        del self.info.settings.build_type
        del self.info.settings.compiler

    def layout(self):
        cmake_layout(self)

    def generate(self):
        toolchain = CMakeToolchain(self)
        for part in ("TESTS", "EXAMPLES", "MANUAL"):
            toolchain.cache_variables[f"THREADING_BUILD_{part}"] = False
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        CMake(self).install()
        lib = os.path.join(self.package_folder, "lib")
        rm(self, "*.a" if self.options.shared else "*.so*", lib)
        # Conan generates these files itself.
        rmdir(self, os.path.join(lib, "cmake"))
        rmdir(self, os.path.join(lib, "pkgconfig"))

    def package_info(self):
        self.cpp_info.libs = ["threading"]
        self.cpp_info.set_property("cmake_file_name", "Threading")
        target = "threading" if self.options.shared else "threading-static"
        self.cpp_info.set_property("cmake_target_name", f"Threading::{target}")
        self.cpp_info.set_property("pkg_config_name", "threading")
        if not self.options.shared:
            self.cpp_info.system_libs = ["util", "rt", "pthread", "m", "dl", "c"]
