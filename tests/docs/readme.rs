//! Checks that the C programs in README.md and in docs/tutorial.md compile without warnings, and print the output that
//! is shown there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The root of the source tree.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the language and the text of each code block of a Markdown file.
fn blocks(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let body = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n"));
            blocks.push((language.to_owned(), body.collect()));
        }
    }
    blocks
}

/// Compiles and runs a program, and compares its output with `expected`. `name` is used for files and messages.
fn check_program(name: &str, text: &str, expected: &str) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let source = directory.join(format!("{name}.c"));
    let program = directory.join(name);
    fs::write(&source, text).unwrap();

    // Cargo has built the static library in the directory of this test.
    let library = env::current_exe().unwrap().with_file_name("libthreading.a");
    let compiled = Command::new(env::var_os("CC").unwrap_or("cc".into()))
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .args([&root().join("include"), &source, &library])
        .args(["-lgcc_s", "-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program)
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{name}: {}", String::from_utf8_lossy(&compiled.stderr));

    let output = Command::new(&program).output().unwrap();
    assert!(
        output.status.success(),
        "{name}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{name}");
}

/// Checks each C program of a Markdown file. The next code block, of the language `text`, is the output of the program.
/// Returns the number of programs.
fn check_programs(file: &str, name: &str) -> usize {
    let blocks = blocks(file);
    let programs = blocks.iter().enumerate().filter(|(_, (language, _))| language == "c");
    let mut checked = 0;
    for (at, (_, program)) in programs {
        let (language, output) = blocks.get(at + 1).expect("a code block follows the program");
        assert_eq!(language, "text", "{file}: no output is shown after this program:\n{program}");
        checked += 1;
        check_program(&format!("{name}_{checked}"), program, output);
    }
    checked
}

#[test]
fn the_program_in_the_readme_prints_the_output_shown_there() {
    assert_eq!(check_programs("README.md", "readme"), 1);
}

#[test]
fn the_programs_in_the_tutorial_print_the_output_shown_there() {
    assert_eq!(check_programs("docs/tutorial.md", "tutorial"), 12);
}
