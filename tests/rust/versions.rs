//! Checks that the shared library that cargo links exports the functions of include/threading.h, each with the version
//! of the interface, and no other symbols. tests/consumer/run checks the installed library.
//!
//! Also checks that all files have the version and the description of Cargo.toml, that tools/version changes them all,
//! and what `cargo package` packs.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The files that contain the version, each with the texts before and after it.
const VERSIONS: [(&str, &str, &str); 14] = [
    ("Cargo.toml", "\nversion = \"", "\"\n"),
    ("Cargo.lock", "\nname = \"libthreading\"\nversion = \"", "\"\n"),
    ("tests/fuzz/Cargo.lock", "\nname = \"libthreading\"\nversion = \"", "\"\n"),
    ("CHANGELOG.md", "\n## ", " - "),
    ("include/threading.h", "\n#define THREADING_VERSION \"", "\"\n"),
    ("debian/changelog", "libthreading (", "-1) "),
    ("packaging/homebrew/libthreading.rb", "/libthreading-", ".tar.gz\"\n"),
    ("packaging/npm/package.json", "\n  \"version\": \"", "\",\n"),
    ("packaging/python/pyproject.toml", "\nversion = \"", "\"\n"),
    ("packaging/rpm/libthreading.spec", "\nVersion:        ", "\n"),
    ("packaging/rpm/libthreading.spec", "> - ", "-1\n"),
    ("packaging/vcpkg/vcpkg.json", "\n  \"version\": \"", "\",\n"),
    // These have only the version of the interface, such as 0.1.
    ("README.md", "find_package(Threading ", " CONFIG"),
    ("c_examples/CMakeLists.txt", "find_package(Threading ", " CONFIG"),
];

/// The files that contain the description, or its first part, each with the text before it.
const DESCRIPTIONS: [(&str, &str); 8] = [
    ("include/threading.h", " * threading.h - "),
    ("debian/control", "\nDescription: "),
    ("packaging/conan/conanfile.py", "\n    description = \""),
    ("packaging/homebrew/libthreading.rb", "\n  desc \""),
    ("packaging/npm/package.json", "\n  \"description\": \""),
    ("packaging/python/pyproject.toml", "\ndescription = \""),
    ("packaging/rpm/libthreading.spec", "\nSummary:        "),
    ("packaging/vcpkg/vcpkg.json", "\n  \"description\": \""),
];

fn read(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the text between the first `before` and the next `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

/// Asserts that all files below a directory have this version.
fn assert_versions(directory: &Path, version: &str) {
    let interface = version.rsplit_once('.').unwrap().0;
    for (file, before, after) in VERSIONS {
        let text = read(directory, file);
        let found = between(&text, before, after);
        let wanted = if before.starts_with("find_package") { interface } else { version };
        assert_eq!(found, Some(wanted), "{file}, after {before:?}; tools/version changes the version");
    }
    for (part, name) in version.split('.').zip(["MAJOR", "MINOR", "PATCH"]) {
        let (header, source) =
            (read(directory, "include/threading.h"), read(directory, "src/capi/library.rs"));
        let in_header = between(&header, &format!("\n#define THREADING_VERSION_{name} "), "\n");
        let in_source = between(&source, &format!("\npub const THREADING_VERSION_{name}: i32 = "), ";\n");
        assert_eq!((in_header, in_source), (Some(part), Some(part)), "{name}");
    }
}

/// Returns the files below a folder of this repository, as git and cargo see them: without those of a build.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if !entry.file_type().unwrap().is_dir() {
            found.push(path);
        } else if !["/build", "/lib"].iter().any(|name| path.ends_with(name)) {
            found.extend(files(&path));
        }
    }
    found
}

#[test]
fn all_files_have_the_version_of_cargo_toml() {
    let version = env!("CARGO_PKG_VERSION");
    assert_versions(Path::new(ROOT), version);
    for file in files("packaging").into_iter().chain(files("debian")) {
        // The versions in which the symbols were added.
        let listed = file.ends_with(".symbols") || VERSIONS.iter().any(|(name, ..)| *name == file);
        let text = fs::read(Path::new(ROOT).join(&file)).unwrap();
        let contains = String::from_utf8_lossy(&text).contains(version);
        assert!(listed || !contains, "{file} contains the version, and is not in the list of this test");
    }
}

#[test]
fn all_files_have_the_description_of_cargo_toml() {
    let summary = env!("CARGO_PKG_DESCRIPTION").split(':').next().unwrap();
    for (file, before) in DESCRIPTIONS {
        let text = read(Path::new(ROOT), file);
        let found = text.split_once(before).unwrap_or_else(|| panic!("{file}: no {before:?}")).1;
        assert!(found.starts_with(summary), "{file}: not the description {summary:?}, after {before:?}");
    }
}

#[test]
fn tools_version_changes_all_files() {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("versions");
    let _ = fs::remove_dir_all(&copy);
    for file in VERSIONS.iter().map(|(file, ..)| *file).chain([
        "debian/control",
        "src/capi/library.rs",
        "tools/version",
    ]) {
        fs::create_dir_all(copy.join(file).parent().unwrap()).unwrap();
        fs::copy(Path::new(ROOT).join(file), copy.join(file)).unwrap();
    }
    let change_to =
        |version| Command::new("sh").arg(copy.join("tools/version")).arg(version).output().unwrap();
    for version in ["7.8.9", "7.8.10", "7.9.255", "7.90.0", "7.199.249"] {
        let output = change_to(version);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_versions(&copy, version);
    }
    // `threading_version_number` has 8 bits for each number.
    for invalid in ["7.9", "7.9.01", "7.9.256", "7.1000.0", "7.9.0-rc1"] {
        assert_eq!(change_to(invalid).status.code(), Some(2), "{invalid}");
    }
    fs::remove_dir_all(&copy).unwrap();
}

#[test]
fn the_crate_contains_what_a_rust_program_needs() {
    let output = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).unwrap();
    // Cargo adds this file if the folder is a git repository.
    let packed: BTreeSet<_> = listed.lines().filter(|file| *file != ".cargo_vcs_info.json").collect();
    let sources = files("src");
    let sources =
        sources.iter().map(String::as_str).filter(|file| file.ends_with(".rs") || file.ends_with(".c"));
    let expected: BTreeSet<_> = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "Cargo.toml.orig",
        "LICENSE",
        "README.md",
        "build.rs",
        "docs/languages.md",
        "include/threading.h",
        "include/threading.hpp",
        "packaging/crate/README.md",
    ]
    .into_iter()
    .chain(sources)
    .collect();
    assert_eq!(packed, expected);
}

/// Returns the functions that the header declares, except the inline functions.
fn declared() -> BTreeSet<String> {
    let header =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("include/threading.h")).unwrap();
    let code =
        header.lines().filter(|line| !line.starts_with([' ', '/', '#', '}']) && !line.contains("static"));
    let names = code.filter(|line| !line.starts_with("typedef")).filter_map(|line| line.split_once('('));
    names.map(|(before, _)| before.rsplit([' ', '*']).next().unwrap().to_owned()).collect()
}

/// Returns the exported symbols of a library, as readelf prints them.
fn exported(library: &Path) -> BTreeSet<String> {
    let output = Command::new("readelf").args(["--wide", "--dyn-syms"]).arg(library).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let symbols = String::from_utf8(output.stdout).unwrap();
    let columns = symbols.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let defined = columns.filter(|line| line.len() == 8 && line[6] != "UND" && line[6] != "Ndx");
    defined.map(|line| line[7].to_owned()).collect()
}

#[test]
fn every_exported_symbol_has_the_version_of_the_interface() {
    // Cargo has linked the library in the directory of this test.
    let library = env::current_exe().unwrap().with_file_name("libthreading.so");
    let version =
        format!("THREADING_{}.{}", env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"));
    let declared = declared();
    assert!(declared.contains("threading_lock_new"), "{declared:?}");
    let expected: BTreeSet<_> = declared.into_iter().map(|name| format!("{name}@@{version}")).collect();
    let exported = exported(&library);
    assert!(
        exported == expected,
        "missing: {:?}\nunexpected: {:?}",
        expected.difference(&exported).collect::<Vec<_>>(),
        exported.difference(&expected).collect::<Vec<_>>()
    );
}
