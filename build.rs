//! Compiles the C files and sets how the shared library is linked.
//!
//! Environment variables, which CMakeLists.txt sets:
//!
//! - `THREADING_SYMBOL_VERSIONS`: with `required`, the build fails if the exported symbols cannot be versioned; with
//!   `off`, they are not versioned. If the variable is not set, a failure is only a warning.
//! - `THREADING_LINK_ARGS`: arguments for the linker driver, such as `--sysroot`, separated by tabs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

fn main() {
    const C_FILES: [&str; 2] = ["src/sys/tls.c", "src/sys/annotate.c"];
    println!("cargo:rerun-if-changed=build.rs");
    C_FILES.iter().for_each(|file| println!("cargo:rerun-if-changed={file}"));
    cc::Build::new().files(C_FILES).std("c11").warnings(true).extra_warnings(true).compile("threading_sys");

    // tests/docs/header.rs uses the compilers of this machine.
    println!("cargo:rustc-env=HOST_TRIPLE={}", variable("HOST"));

    if variable("CARGO_CFG_TARGET_FAMILY") != "unix" || variable("CARGO_CFG_TARGET_VENDOR") == "apple" {
        return; // the rest is for ELF only
    }
    rerun_if_linker_changes();
    link_arguments_from_cmake().iter().for_each(|argument| link_argument(argument));
    // The soname contains the major version: programs linked against 0.x load libthreading.so.0.
    let soname = format!("libthreading.so.{}", variable("CARGO_PKG_VERSION_MAJOR"));
    link_argument(&format!("-Wl,-soname,{soname}"));
    if option_env!("CARGO_PRIMARY_PACKAGE").is_some() {
        link_soname(&soname);
    }
    // dlclose must not unmap code that threads still run.
    link_argument("-Wl,-z,nodelete");
    version_symbols();
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn link_argument(argument: &str) {
    println!("cargo:rustc-cdylib-link-arg={argument}");
}

/// Creates the symbolic link with the name of the soname beside the library that cargo will create, so that programs
/// linked with it start. Only for a build of this package itself: as a dependency, it is a part of the Rust program.
fn link_soname(soname: &str) {
    let output = PathBuf::from(variable("OUT_DIR"));
    // OUT_DIR is build/libthreading-HASH/out in the directory of the profile.
    if let Some(directory) = output.ancestors().nth(3) {
        let link = directory.join(soname);
        let _ = fs::remove_file(&link);
        if let Err(error) = std::os::unix::fs::symlink("libthreading.so", &link) {
            println!("cargo:warning=cannot create {}: {error}", link.display());
        }
    }
}

/// The linker arguments that the toolchain of CMake needs.
fn link_arguments_from_cmake() -> Vec<String> {
    variable("THREADING_LINK_ARGS").split('\t').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Asks cargo to run this script again when the linker changes: cargo does not do so by itself. The crate `cc` does the
/// same for the C compiler.
fn rerun_if_linker_changes() {
    let target = variable("TARGET").to_uppercase().replace(['-', '.'], "_");
    for name in ["LINKER", "RUSTFLAGS"] {
        println!("cargo:rerun-if-env-changed=CARGO_TARGET_{target}_{name}");
    }
    for name in [
        "THREADING_SYMBOL_VERSIONS",
        "THREADING_LINK_ARGS",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "RUSTC_LINKER",
    ] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    // Configuration files that may name a linker. Cargo treats a missing file as always changed, so only existing ones
    // are listed.
    let home = PathBuf::from(variable("CARGO_HOME"));
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let directories = here.ancestors().map(|directory| directory.join(".cargo")).chain([home]);
    for file in directories.flat_map(|directory| [directory.join("config.toml"), directory.join("config")]) {
        if file.is_file() {
            println!("cargo:rerun-if-changed={}", file.display());
        }
    }
}

/// Assigns a version to each exported symbol of the shared library: `threading_lock_new@@THREADING_0.1`.
///
/// A version script alone is not enough, because rustc passes a script of its own without versions, which takes
/// precedence. But lld, which Rust toolchains contain, assigns a version to `name` if `name@@version` is undefined on
/// its command line. The static library has no versions: users could not link objects with `.symver` into their own
/// shared libraries.
fn version_symbols() {
    let setting = variable("THREADING_SYMBOL_VERSIONS");
    if setting == "off" {
        return;
    }
    let directory = PathBuf::from(variable("OUT_DIR"));
    let version =
        format!("THREADING_{}.{}", variable("CARGO_PKG_VERSION_MAJOR"), variable("CARGO_PKG_VERSION_MINOR"));
    let script = directory.join("version.map");
    fs::write(&script, format!("{version} {{ }};\n")).unwrap();
    let symbols = directory.join("symbols.txt");
    let names = exported_functions().into_iter().map(|name| format!("-u {name}@@{version}\n"));
    fs::write(&symbols, names.collect::<String>()).unwrap();

    // Not with -Wl, which splits its argument at commas, and the directory may contain one. The compiler reads the file
    // of symbols.
    let versions = [
        "-Xlinker".to_owned(),
        format!("--version-script={}", script.display()),
        format!("@{}", symbols.display()),
    ];
    // First with rustc's default linker, which may be lld, then with the toolchain's lld or that of the system.
    let lld = [format!("-B{}", bundled_lld().display()), "-fuse-ld=lld".to_owned()];
    let attempts = [versions.to_vec(), [&lld[..], &versions].concat()];
    let mut failures = Vec::new();
    for arguments in attempts {
        match lld_links(&arguments, &directory) {
            Ok(()) => return arguments.iter().for_each(|argument| link_argument(argument)),
            Err(failure) => failures.push(failure),
        }
    }
    let advice = "cannot version the symbols of libthreading.so, because no lld could link a library. Install lld \
                  (Debian package: lld; rustup toolchains contain one), or set THREADING_SYMBOL_VERSIONS=off (CMake: \
                  -DTHREADING_SYMBOL_VERSIONS=OFF) to build a library without symbol versions";
    let details = failures.iter().flat_map(|failure| failure.lines()).filter(|line| !line.trim().is_empty());
    if setting == "required" {
        println!("cargo::error={advice}");
        details.for_each(|line| println!("cargo::error={line}"));
        std::process::exit(1);
    }
    println!("cargo:warning={advice}. Then run: cargo clean -p libthreading");
    details.for_each(|line| println!("cargo:warning={line}"));
}

/// Returns the names of all exported functions in src/capi/, and asks cargo to run this script again when they change.
fn exported_functions() -> Vec<String> {
    let mut names = Vec::new();
    for file in fs::read_dir("src/capi").unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        println!("cargo:rerun-if-changed={}", path.display()); // a new file also changes mod.rs
        let source = fs::read_to_string(path).unwrap();
        for exported in source.split("#[unsafe(no_mangle)]").skip(1) {
            let (_, function) = exported.split_once(" fn ").expect("the attribute precedes a function");
            names.push(function.split('(').next().unwrap().to_owned());
        }
    }
    names.sort();
    names
}

/// Returns the directory in which rustc keeps its lld under the name that C compilers search for.
fn bundled_lld() -> PathBuf {
    let output = Command::new(variable("RUSTC")).args(["--print", "sysroot"]).output();
    let sysroot = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    Path::new(&sysroot.unwrap_or_default()).join("lib/rustlib").join(variable("HOST")).join("bin/gcc-ld")
}

/// Checks that rustc can link a library with lld and these arguments, in the same way as it will link this one. Tries
/// three times, because the linker can run out of memory on a busy machine. The error contains the linker's output.
fn lld_links(arguments: &[String], directory: &Path) -> Result<(), String> {
    let mut failure = String::new();
    for delay in [0, 200, 1000] {
        thread::sleep(Duration::from_millis(delay));
        match try_link(arguments, directory) {
            Ok(()) => return Ok(()),
            Err(message) => failure = message,
        }
    }
    Err(failure)
}

fn try_link(arguments: &[String], directory: &Path) -> Result<(), String> {
    let library = directory.join("probe.so");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(variable("CARGO_ENCODED_RUSTFLAGS").split('\x1f').filter(|flag| !flag.is_empty()));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc.args(["--crate-name", "probe", "--crate-type", "cdylib", "--target", &variable("TARGET")]);
    rustc.args(
        link_arguments_from_cmake().iter().chain(arguments).map(|argument| format!("-Clink-arg={argument}")),
    );
    rustc.arg("-o").arg(&library).arg("-").stdin(Stdio::null());
    let _ = fs::remove_file(&library);
    let output = rustc.output();
    let describe = |what: &str| format!("{what}: {rustc:?}");
    let output = output.map_err(|error| describe(&format!("cannot run rustc ({error})")))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "{}\n{}",
            describe(&format!("the linker failed ({})", output.status)),
            text.trim_end()
        ));
    }
    let signature = b" LLD "; // in the section .comment
    let bytes =
        fs::read(&library).map_err(|error| describe(&format!("the linker wrote no library ({error})")))?;
    if !bytes.windows(signature.len()).any(|part| part == signature) {
        return Err(describe("the linker is not lld"));
    }
    Ok(())
}
