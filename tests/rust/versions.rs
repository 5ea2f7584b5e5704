//! Checks that the shared library that cargo links exports the functions of include/threading.h, each with the version
//! of the interface, and no other symbols. tests/consumer/run checks the installed library.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

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
