//! Compiles the C files and sets how the shared library is linked.
//!
//! Environment variables, which CMakeLists.txt sets:
//!
//! - `THREADING_SYMBOL_VERSIONS`: `required` fails the build where symbols cannot get versions, `off` does not try.
//!   If it is not set, cargo warns.
//! - `THREADING_LINK_ARGS`: arguments for the linker driver, such as `--sysroot`, with tabs between them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

fn main() {
    const FILES: [&str; 2] = ["src/sys/tls.c", "src/sys/annotate.c"];
    println!("cargo:rerun-if-changed=build.rs");
    FILES.iter().for_each(|file| println!("cargo:rerun-if-changed={file}"));
    cc::Build::new().files(FILES).std("c11").warnings(true).extra_warnings(true).compile("threading_sys");

    // tests/docs/header.rs looks for the compilers of this machine.
    println!("cargo:rustc-env=HOST_TRIPLE={}", variable("HOST"));

    if variable("CARGO_CFG_TARGET_FAMILY") != "unix" || variable("CARGO_CFG_TARGET_VENDOR") == "apple" {
        return; // what follows is about ELF files
    }
    rerun_if_the_linker_changes();
    given_arguments().iter().for_each(|argument| link_argument(argument));
    // The major version is the ABI's: programs linked against 0.x find libthreading.so.0.
    link_argument(&format!("-Wl,-soname,libthreading.so.{}", variable("CARGO_PKG_VERSION_MAJOR")));
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

/// The arguments that CMake's toolchain needs.
fn given_arguments() -> Vec<String> {
    variable("THREADING_LINK_ARGS").split('\t').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Cargo does not run a build script again if only the linker has changed. For the C compiler, the crate cc sees to
/// that.
fn rerun_if_the_linker_changes() {
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
    // Files that may name a linker. Of one that is not there, cargo would say that it has changed each time.
    let home = PathBuf::from(variable("CARGO_HOME"));
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let folders = here.ancestors().map(|folder| folder.join(".cargo")).chain([home]);
    for file in folders.flat_map(|folder| [folder.join("config.toml"), folder.join("config")]) {
        if file.is_file() {
            println!("cargo:rerun-if-changed={}", file.display());
        }
    }
}

/// Gives each exported symbol of the shared library its version: `threading_lock_new@@THREADING_0.1`.
///
/// A version script alone does not, since rustc passes one of its own, without versions, that wins. But to lld,
/// the linker that rustc brings along, an undefined `name@@version` on the command line means that the definition
/// of `name` has this version. The static library knows nothing of it: `.symver` in the objects would forbid
/// that others link them into a shared library of theirs.
fn version_symbols() {
    let exported = exported();
    let wanted = variable("THREADING_SYMBOL_VERSIONS");
    if wanted == "off" {
        return;
    }
    let directory = PathBuf::from(variable("OUT_DIR"));
    let version =
        format!("THREADING_{}.{}", variable("CARGO_PKG_VERSION_MAJOR"), variable("CARGO_PKG_VERSION_MINOR"));
    let script = directory.join("version.map");
    fs::write(&script, format!("{version} {{ }};\n")).unwrap();
    let symbols = directory.join("symbols.txt");
    let names = exported.into_iter().map(|name| format!("-u {name}@@{version}\n"));
    fs::write(&symbols, names.collect::<String>()).unwrap();

    let versions =
        [format!("-Wl,--version-script={}", script.display()), format!("-Wl,@{}", symbols.display())];
    // Where rustc does not take its lld by itself, it is asked to; if it has none, the system may have one.
    let lld = [format!("-B{}", bundled_lld().display()), "-fuse-ld=lld".to_owned()];
    let ways = [versions.to_vec(), [lld, versions].concat()];
    let mut failures = Vec::new();
    for arguments in ways {
        match lld_links(&arguments, &directory) {
            Ok(()) => return arguments.iter().for_each(|argument| link_argument(argument)),
            Err(failure) => failures.push(failure),
        }
    }
    let advice = "the symbols of libthreading.so get no versions, since no lld could link a library. Install lld (in \
                  Debian the package lld; rustup's toolchains have one), or set THREADING_SYMBOL_VERSIONS=off (CMake: \
                  -DTHREADING_SYMBOL_VERSIONS=OFF) to build a library without versions";
    let said = failures.iter().flat_map(|failure| failure.lines()).filter(|line| !line.trim().is_empty());
    if wanted == "required" {
        println!("cargo::error={advice}");
        said.for_each(|line| println!("cargo::error={line}"));
        std::process::exit(1);
    }
    println!("cargo:warning={advice}. Then: cargo clean -p libthreading");
    said.for_each(|line| println!("cargo:warning={line}"));
}

/// The names of all functions in src/capi/*.rs that C sees.
fn exported() -> Vec<String> {
    let mut names = Vec::new();
    for file in fs::read_dir("src/capi").unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        println!("cargo:rerun-if-changed={}", path.display()); // a new one changes mod.rs too
        let source = fs::read_to_string(path).unwrap();
        for exported in source.split("#[unsafe(no_mangle)]").skip(1) {
            let (_, function) = exported.split_once(" fn ").expect("a function follows");
            names.push(function.split('(').next().unwrap().to_owned());
        }
    }
    names.sort();
    names
}

/// Where rustc keeps its lld under the name by which C compilers look for it.
fn bundled_lld() -> PathBuf {
    let asked = Command::new(variable("RUSTC")).args(["--print", "sysroot"]).output();
    let sysroot = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    Path::new(&sysroot.unwrap_or_default()).join("lib/rustlib").join(variable("HOST")).join("bin/gcc-ld")
}

/// Checks whether rustc links a library by lld with these arguments, as it will link this one. On a busy machine a
/// process can fail for lack of memory, so it is tried three times. The error has the linker's output.
fn lld_links(arguments: &[String], directory: &Path) -> Result<(), String> {
    let mut failure = String::new();
    for delay in [0, 200, 1000] {
        thread::sleep(Duration::from_millis(delay));
        match try_link(arguments, directory) {
            Ok(()) => return Ok(()),
            Err(said) => failure = said,
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
    rustc.args(given_arguments().iter().chain(arguments).map(|argument| format!("-Clink-arg={argument}")));
    rustc.arg("-o").arg(&library).arg("-").stdin(Stdio::null());
    let _ = fs::remove_file(&library);
    let output = rustc.output();
    let said = |what: &str| format!("{what}: {rustc:?}");
    let output = output.map_err(|error| said(&format!("rustc cannot be run ({error})")))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "{}\n{}",
            said(&format!("the linker failed ({})", output.status)),
            text.trim_end()
        ));
    }
    let signature = b" LLD "; // in the section .comment
    let bytes = fs::read(&library).map_err(|error| said(&format!("the linker made no library ({error})")))?;
    if !bytes.windows(signature.len()).any(|part| part == signature) {
        return Err(said("the linker is not lld"));
    }
    Ok(())
}
