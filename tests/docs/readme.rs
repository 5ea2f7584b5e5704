//! Checks that the C program in README.md compiles without warnings, and prints the output that README.md shows.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Returns the text of the first code block with this language.
fn block(readme: &str, language: &str) -> String {
    let begin = format!("```{language}\n");
    let start = readme.find(&begin).expect("README.md has such a block") + begin.len();
    let length = readme[start..].find("```").expect("the block ends");
    readme[start..start + length].to_owned()
}

#[test]
fn the_program_in_the_readme_prints_the_output_shown_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let source = directory.join("readme.c");
    let program = directory.join("readme");
    fs::write(&source, block(&readme, "c")).unwrap();

    // Cargo has built the static library in the directory of this test.
    let library = env::current_exe().unwrap().with_file_name("libthreading.a");
    let compiled = Command::new(env::var_os("CC").unwrap_or("cc".into()))
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .args([&root.join("include"), &source, &library])
        .args(["-lgcc_s", "-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program)
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));

    let output = Command::new(&program).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), block(&readme, "text"));
}
