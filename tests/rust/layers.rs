//! Checks the files of `src/`: each file uses only files of its own layer and of lower layers, there are no cycles, and
//! long files say why they are long.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs};

/// The layers, the lowest first. A file belongs to the layer with the longest entry that matches: its own path without
/// `.rs`, or its directory.
const LAYERS: [&[&str]; 12] = [
    &["error", "time"],
    &["sys/"],
    &["panic_boundary", "fault", "callbacks"],
    &["sync/"],
    &["handle/"],
    &[
        "thread/ident",
        "thread/name_table",
        "thread/names",
        "thread/stack_cache",
        "thread/object",
        "thread/kind",
        "thread/stack_count",
        "thread/target",
        "timer/object",
        "timer/heap",
        "timer/queue",
    ],
    &["thread/registry"],
    &["thread/", "timer/", "lock/", "local/", "event", "semaphore", "barrier"],
    &["dump/"],
    &["runtime/"],
    &["capi/", "rust_api/"],
    &["lib"],
];

type Files = BTreeMap<String, String>;

/// Maps the path of each file, without `.rs`, to its text without tests.
fn read(directory: &Path, prefix: &str, files: &mut Files) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            read(&entry.path(), &format!("{prefix}{name}/"), files);
        } else if let Some(stem) = name.strip_suffix(".rs") {
            let text = fs::read_to_string(entry.path()).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            files.insert(format!("{prefix}{stem}"), text.to_owned());
        }
    }
}

fn all_files() -> Files {
    let mut files = Files::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    files
}

fn remove_comments(text: &mut String) {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    *text = code.collect::<Vec<_>>().join("\n");
}

/// Parses the path or the tree of paths at the beginning of the text, such as `a::{b, c::d}`, and adds its paths to
/// `found`, each with the prefix `before`.
fn parse_tree(text: &mut &str, before: &str, found: &mut Vec<String>) {
    let is_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let end = text.find(|letter| !is_path(letter)).unwrap_or(text.len());
    let path = format!("{before}{}", &text[..end]);
    *text = &text[end..];
    if !text.starts_with('{') || !path.is_empty() && !path.ends_with("::") {
        return found.push(path);
    }
    while !text.starts_with('}') {
        *text = text[1..].trim_start();
        if !text.starts_with('}') {
            parse_tree(text, &path, found);
            *text = text.trim_start_matches(|letter| !",}".contains(letter));
        }
    }
    *text = &text[1..];
}

/// Adds to `found` all paths that begin with this name, with `before` in its place.
fn find_paths(code: &str, name: &str, before: &str, found: &mut Vec<String>) {
    for (at, begin) in code.match_indices(&format!("{name}::")) {
        let is_whole =
            !code[..at].ends_with(|letter: char| letter.is_alphanumeric() || "_:".contains(letter));
        if is_whole {
            parse_tree(&mut &code[at + begin.len()..], before, found);
        }
    }
}

/// Returns the file to which a path from the root of the crate refers. `exports` are the names that `lib.rs`
/// re-exports. Returns `None` for the runtime of the models, which is not in `src/`.
fn file_of(path: &str, files: &Files, exports: &BTreeMap<String, String>) -> Option<String> {
    let parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
    let prefixes = (1..=parts.len()).rev().map(|length| parts[..length].join("/"));
    let mut candidates = prefixes.flat_map(|prefix| [format!("{prefix}/mod"), prefix]);
    let file = candidates.find(|file| files.contains_key(file)).or_else(|| exports.get(parts[0]).cloned());
    assert!(file.is_some() || parts[0] == "model", "crate::{path} refers to no file");
    file
}

const VISIBILITIES: [&str; 4] = ["", "pub ", "pub(crate) ", "pub(super) "];

/// Returns the files that each file uses through paths that begin with `crate`, `super` or a module that it declares.
fn used_files(files: &Files) -> BTreeMap<String, BTreeSet<String>> {
    let relative = |file: &str| {
        let code = &files[file];
        let module = file.trim_end_matches("lib").trim_end_matches("/mod").replace('/', "::");
        let inside = if module.is_empty() { module.clone() } else { format!("{module}::") };
        let parent = module.rsplit_once("::").map_or(String::new(), |(parent, _)| format!("{parent}::"));
        let mut found = Vec::new();
        find_paths(code, "super", &parent, &mut found);
        let declared = code.lines().filter_map(|line| line.strip_suffix(';')?.split_once("mod "));
        for (_, child) in declared.filter(|(visibility, _)| VISIBILITIES.contains(visibility)) {
            find_paths(code, child, &format!("{inside}{child}::"), &mut found);
        }
        found
    };
    let none = BTreeMap::new();
    let exported = relative("lib").into_iter().filter(|path| !path.starts_with("model"));
    let exports = exported
        .map(|path| (path.rsplit("::").next().unwrap().to_owned(), file_of(&path, files, &none).unwrap()));
    let exports = exports.collect();
    let used = files.iter().map(|(file, code)| {
        let mut found = relative(file);
        find_paths(code, "crate", "", &mut found);
        let used = found.iter().filter_map(|path| file_of(path, files, &exports));
        (file.clone(), used.filter(|used| used != file).collect())
    });
    used.collect()
}

/// Returns the layer of a file, or `None` if it belongs to no layer.
fn layer_of(file: &str) -> Option<usize> {
    let matches = |entry: &&&str| *entry == &file || entry.ends_with('/') && file.starts_with(**entry);
    let layers = LAYERS.iter().enumerate();
    let candidates = layers.filter_map(|(layer, entries)| {
        Some((entries.iter().filter(matches).map(|entry| entry.len()).max()?, layer))
    });
    candidates.max().map(|(_, layer)| layer)
}

#[test]
fn dependencies_go_down_the_layers_and_form_no_cycles() {
    let mut files = all_files();
    files.values_mut().for_each(remove_comments);
    let uses = used_files(&files);
    let mut faults = Vec::new();
    for (file, used) in &uses {
        let Some(layer) = layer_of(file) else {
            faults.push(format!("{file} belongs to no layer"));
            continue;
        };
        let up = used.iter().filter(|used| layer_of(used).is_some_and(|of_used| of_used > layer));
        faults.extend(up.map(|used| format!("{file} uses {used}, which is in a higher layer")));
        let reached = |from: &str| {
            let (mut reached, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
            while let Some(file) = next.pop() {
                next.extend(uses[&file].iter().filter(|used| reached.insert((*used).clone())).cloned());
            }
            reached
        };
        // Each cycle is reported once, for its first file.
        let cycle: Vec<String> =
            reached(file).into_iter().filter(|other| reached(other).contains(file)).collect();
        if cycle.first() == Some(file) {
            faults.push(format!("dependency cycle: {}", cycle.join(", ")));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn files_of_more_than_400_lines_say_why() {
    for (file, text) in all_files() {
        let mut head = text.lines().take_while(|line| line.is_empty() || line.starts_with("//"));
        let says_why = head.any(|line| line.contains("The file exceeds 400 lines"));
        assert!(says_why || text.lines().count() <= 400, "{file}.rs is long, and its head does not say why");
    }
}
