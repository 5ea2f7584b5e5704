//! Checks that include/threading.h is up to date with src/capi/, and that it compiles with all supported standards.
//!
//! `UPDATE_HEADER=1 cargo test --test header` updates the header.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The files of src/capi/ in the order of their sections in the header.
const SECTIONS: &[&str] = &[
    "types",
    "status",
    "library",
    "threading",
    "thread",
    "timer",
    "lock",
    "rlock",
    "condition",
    "semaphore",
    "event",
    "barrier",
    "local",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The comment that begins a section. The first line of the comment of its file is the title, the rest is the text.
fn banner(source: &str) -> String {
    let mut lines = source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line));
    let title = lines.next().expect("each file of src/capi/ begins with the title of its section");
    let mut banner = format!("/*\n * {}\n *\n * {title}\n", "-".repeat(100));
    for line in lines {
        let _ = writeln!(banner, "{}", format!(" * {line}").trim_end());
    }
    let _ = writeln!(banner, " */\n");
    banner
}

/// The declarations without the `# Safety` sections, which end the comments of unsafe functions and are for Rust only.
fn without_safety(declarations: &str) -> String {
    let mut kept = String::new();
    let mut rest = declarations;
    while let Some((before, section)) = rest.split_once(" *\n * # Safety\n") {
        kept.push_str(before);
        rest = &section[section.find(" */").expect("the comment ends")..];
    }
    kept + rest
}

fn section(name: &str) -> String {
    let path = root().join(format!("src/capi/{name}.rs"));
    let source = fs::read_to_string(&path).unwrap();
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    // cbindgen omits types that no function of the same file uses, unless they are listed.
    config.export.include = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub type ")))
        .filter_map(|rest| rest.split([' ', '(']).next().map(str::to_owned))
        .collect();
    let mut declarations = Vec::new();
    cbindgen::Builder::new().with_config(config).with_src(&path).generate().unwrap().write(&mut declarations);
    let mut section = banner(&source);
    for line in without_safety(&String::from_utf8(declarations).unwrap()).trim().lines() {
        match line.strip_prefix("#define ").and_then(|rest| rest.split_once(" -")) {
            Some((name, number)) => writeln!(section, "#define {name} (-{number})").unwrap(),
            None => writeln!(section, "{line}").unwrap(),
        }
    }
    section
}

fn generated() -> String {
    let prologue = fs::read_to_string(root().join("src/capi/header/prologue.h")).unwrap();
    let mut header = prologue.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    for name in SECTIONS {
        header.push('\n');
        header.push_str(&section(name));
    }
    header.push_str(&fs::read_to_string(root().join("src/capi/header/epilogue.h")).unwrap());
    header
}

#[test]
fn header_is_up_to_date() {
    let path = root().join("include/threading.h");
    let generated = generated();
    if env::var_os("UPDATE_HEADER").is_some() {
        // A rename, so that the other tests never compile a part of the header.
        let new = path.with_extension("h.new");
        fs::write(&new, &generated).unwrap();
        fs::rename(&new, &path).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    if let Some((number, (found, expected))) =
        committed.lines().zip(generated.lines()).enumerate().find(|(_, (found, expected))| found != expected)
    {
        panic!(
            "include/threading.h is stale from line {}:\n  found:    {found}\n  expected: {expected}\n\
             To update it: UPDATE_HEADER=1 cargo test --test header",
            number + 1
        );
    }
    assert!(
        committed == generated,
        "include/threading.h is stale. To update it: UPDATE_HEADER=1 cargo test --test header"
    );
}

/// Checks that a source file that only includes the header, twice, compiles without warnings.
fn check_compiles(compiler: &str, standard: &str, extension: &str) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let source = directory
        .join(format!("include_{}.{extension}", standard.trim_start_matches("-std=").replace('+', "p")));
    fs::write(&source, "#include <threading.h>\n#include <threading.h>\nint main(void) { return 0; }\n")
        .unwrap();
    let output = Command::new(compiler)
        .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wundef", "-Werror"])
        .args(["-pedantic-errors", "-fsyntax-only", "-I"])
        .arg(root().join("include"))
        .arg(&source)
        .output()
        .unwrap_or_else(|error| panic!("{compiler} cannot be run: {error}"));
    assert!(output.status.success(), "{compiler} {standard}:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// THREADING_WITH nested, twice on one line, and where the grammar requires a single statement.
const BLOCKS: &str = "
#include <threading.h>
#define BOTH(a, b) THREADING_WITH(a) THREADING_WITH(b)
int main(void)
{
    threading_lock *a = threading_lock_new();
    threading_rlock *b = threading_rlock_new();
    if (a)
        THREADING_WITH(a) { THREADING_WITH(b) { BOTH(b, b) return 1; } }
    else
        BOTH(a, b) return 2;
    return 0;
}
";

#[test]
fn with_blocks_compile_without_warnings() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let source = directory.join("blocks.c");
    fs::write(&source, BLOCKS).unwrap();
    let default = compiler(false);
    // Clang 22 is the first version that treats __COUNTER__ as an extension. Compilers that are not installed are
    // skipped.
    for compiler in [default.as_str(), "gcc", "clang", "clang-22", "clang-23", "gcc-16"] {
        if Command::new(compiler).arg("--version").output().is_err() {
            assert!(compiler != default, "{compiler} cannot be run");
            continue;
        }
        for standard in ["-std=c11", "-std=c17", "-std=gnu17", "-std=c2x"] {
            let output = Command::new(compiler)
                .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-pedantic-errors"])
                .args(["-fsyntax-only", "-I"])
                .arg(root().join("include"))
                .arg(&source)
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{compiler} {standard}:\n{stderr}");
        }
    }
}

/// Returns the path of the C or C++ compiler that the crate `cc` chooses for this machine.
fn compiler(cpp: bool) -> String {
    let target = env!("HOST_TRIPLE");
    let mut build = cc::Build::new();
    build.cpp(cpp).opt_level(0).host(target).target(target);
    build.get_compiler().path().to_str().unwrap().to_owned()
}

#[test]
fn header_compiles_as_c() {
    for standard in ["-std=c99", "-std=c11", "-std=c17", "-std=c2x"] {
        check_compiles(&compiler(false), standard, "c");
    }
}

#[test]
fn header_compiles_as_cpp() {
    for standard in ["-std=c++11", "-std=c++17", "-std=c++20"] {
        check_compiles(&compiler(true), standard, "cpp");
    }
}
