//! Compiles the C files and sets how the shared library is linked.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

fn main() {
    const FILES: [&str; 2] = ["src/per_thread.c", "src/detector.c"];
    println!("cargo:rerun-if-changed=build.rs");
    FILES.iter().for_each(|file| println!("cargo:rerun-if-changed={file}"));
    cc::Build::new()
        .files(FILES)
        .std("c11")
        .warnings(true)
        .extra_warnings(true)
        .compile("threading_per_thread");

    // tests/header.rs looks for the compilers of this machine.
    println!("cargo:rustc-env=HOST_TRIPLE={}", variable("HOST"));

    if variable("CARGO_CFG_TARGET_FAMILY") != "unix" || variable("CARGO_CFG_TARGET_VENDOR") == "apple" {
        return; // what follows is about ELF files
    }
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

/// Gives each exported symbol of the shared library its version: `threading_lock_new@@THREADING_0.1`.
///
/// A version script alone does not, since rustc passes one of its own, without versions, that wins. But to lld,
/// the linker that rustc brings along, an undefined `name@@version` on the command line means that the definition
/// of `name` has this version. The static library knows nothing of it: `.symver` in the objects would forbid
/// that others link them into a shared library of theirs.
fn version_symbols() {
    let directory = PathBuf::from(variable("OUT_DIR"));
    let version =
        format!("THREADING_{}.{}", variable("CARGO_PKG_VERSION_MAJOR"), variable("CARGO_PKG_VERSION_MINOR"));
    let script = directory.join("version.map");
    fs::write(&script, format!("{version} {{ }};\n")).unwrap();
    let symbols = directory.join("symbols.txt");
    let names = exported().into_iter().map(|name| format!("-u {name}@@{version}\n"));
    fs::write(&symbols, names.collect::<String>()).unwrap();

    let versions =
        [format!("-Wl,--version-script={}", script.display()), format!("-Wl,@{}", symbols.display())];
    // Where rustc does not take its lld by itself, it is asked to; if it has none, the system may have one.
    let lld = [format!("-B{}", bundled_lld().display()), "-fuse-ld=lld".to_owned()];
    let ways = [versions.to_vec(), [lld, versions].concat()];
    match ways.iter().find(|arguments| lld_links(arguments, &directory)) {
        Some(arguments) => arguments.iter().for_each(|argument| link_argument(argument)),
        None => println!("cargo:warning=without lld, the symbols of libthreading.so get no versions"),
    }
}

/// The names of all functions in src/capi/ that C sees.
fn exported() -> Vec<String> {
    let mut names = Vec::new();
    for file in fs::read_dir("src/capi").unwrap() {
        let path = file.unwrap().path();
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

/// Whether lld makes a library when rustc links one with these arguments, as it will link this one.
fn lld_links(arguments: &[String], directory: &Path) -> bool {
    let library = directory.join("probe.so");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(variable("CARGO_ENCODED_RUSTFLAGS").split('\x1f').filter(|flag| !flag.is_empty()));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc.args(["--crate-name", "probe", "--crate-type", "cdylib", "--target", &variable("TARGET")]);
    rustc.args(arguments.iter().map(|argument| format!("-Clink-arg={argument}")));
    let _ = fs::remove_file(&library);
    let output = rustc.arg("-o").arg(&library).arg("-").stdin(Stdio::null()).output();
    let signature = b" LLD "; // in the section .comment
    output.is_ok_and(|output| output.status.success())
        && fs::read(&library).is_ok_and(|bytes| bytes.windows(signature.len()).any(|part| part == signature))
}
