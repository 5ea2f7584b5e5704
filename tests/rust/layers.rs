//! Checks that the files of `src/` depend on each other in one direction: each file uses files of its own layer and of
//! lower ones only, and no files use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs};

/// The layers, the lowest first. A file belongs to the layer with the longest entry that fits: its own path without
/// `.rs`, or its folder.
const LAYERS: [&[&str]; 11] = [
    &["error", "time"],
    &["sys/"],
    &["panic_boundary", "callbacks"],
    &["sync/"],
    &["handle/"],
    &[
        "thread/ident",
        "thread/names",
        "thread/stack_cache",
        "thread/object",
        "thread/kind",
        "thread/links",
        "thread/stack_count",
        "timer/object",
        "timer/heap",
        "timer/queue",
    ],
    &["thread/registry"],
    &["thread/", "timer/", "lock/", "local/", "event", "semaphore", "barrier"],
    &["runtime/"],
    &["capi/", "rust_api/"],
    &["lib"],
];

type Files = BTreeMap<String, String>;

/// Each file by its path without `.rs`, and its text without comments and tests.
fn read(folder: &Path, prefix: &str, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            read(&entry.path(), &format!("{prefix}{name}/"), files);
        } else if let Some(stem) = name.strip_suffix(".rs") {
            let text = fs::read_to_string(entry.path()).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            files.insert(format!("{prefix}{stem}"), lines.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// Takes the path or the tree of paths at the beginning of the text, such as `a::{b, c::d}`, and finds its paths, each
/// with `before` in front.
fn tree(text: &mut &str, before: &str, found: &mut Vec<String>) {
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
            tree(text, &path, found);
            *text = text.trim_start_matches(|letter| !",}".contains(letter));
        }
    }
    *text = &text[1..];
}

/// Finds all paths that begin with this name, each with `before` in its place.
fn paths(code: &str, name: &str, before: &str, found: &mut Vec<String>) {
    for (at, begin) in code.match_indices(&format!("{name}::")) {
        let is_whole =
            !code[..at].ends_with(|letter: char| letter.is_alphanumeric() || "_:".contains(letter));
        if is_whole {
            tree(&mut &code[at + begin.len()..], before, found);
        }
    }
}

/// The file that a path from the root of the crate leads to, where `exports` are the names that `lib.rs` re-exports.
/// `None` for the runtime of the models, which is not in `src/`.
fn file_of(path: &str, files: &Files, exports: &BTreeMap<String, String>) -> Option<String> {
    let parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
    let prefixes = (1..=parts.len()).rev().map(|length| parts[..length].join("/"));
    let mut candidates = prefixes.flat_map(|prefix| [format!("{prefix}/mod"), prefix]);
    let file = candidates.find(|file| files.contains_key(file)).or_else(|| exports.get(parts[0]).cloned());
    assert!(file.is_some() || parts[0] == "model", "crate::{path} leads to no file");
    file
}

const VISIBILITIES: [&str; 4] = ["", "pub ", "pub(crate) ", "pub(super) "];

/// Which files each file uses: by paths that begin with `crate`, with `super` or with a module that the file declares.
fn uses(files: &Files) -> BTreeMap<String, BTreeSet<String>> {
    let relative = |file: &str| {
        let code = &files[file];
        let module = file.trim_end_matches("lib").trim_end_matches("/mod").replace('/', "::");
        let inside = if module.is_empty() { module.clone() } else { format!("{module}::") };
        let parent = module.rsplit_once("::").map_or(String::new(), |(parent, _)| format!("{parent}::"));
        let mut found = Vec::new();
        paths(code, "super", &parent, &mut found);
        let declared = code.lines().filter_map(|line| line.strip_suffix(';')?.split_once("mod "));
        for (_, child) in declared.filter(|(visibility, _)| VISIBILITIES.contains(visibility)) {
            paths(code, child, &format!("{inside}{child}::"), &mut found);
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
        paths(code, "crate", "", &mut found);
        let used = found.iter().filter_map(|path| file_of(path, files, &exports));
        (file.clone(), used.filter(|used| used != file).collect())
    });
    used.collect()
}

fn layer_of(file: &str) -> Option<usize> {
    let fits = |entry: &&&str| *entry == &file || entry.ends_with('/') && file.starts_with(**entry);
    let entries = LAYERS.iter().enumerate();
    let fitting = entries.filter_map(|(layer, entries)| {
        Some((entries.iter().filter(fits).map(|entry| entry.len()).max()?, layer))
    });
    fitting.max().map(|(_, layer)| layer)
}

#[test]
fn dependencies_go_down_the_layers_and_not_in_circles() {
    let mut files = Files::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    let uses = uses(&files);
    let mut faults = Vec::new();
    for (file, used) in &uses {
        let Some(layer) = layer_of(file) else {
            faults.push(format!("{file} belongs to no layer"));
            continue;
        };
        let up = used.iter().filter(|used| layer_of(used).is_some_and(|of_used| of_used > layer));
        faults.extend(up.map(|used| format!("{file} uses {used}, of a higher layer")));
        let reached = |from: &str| {
            let (mut reached, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
            while let Some(file) = next.pop() {
                next.extend(uses[&file].iter().filter(|used| reached.insert((*used).clone())).cloned());
            }
            reached
        };
        // Each circle is reported once, at its first file.
        let circle: Vec<String> =
            reached(file).into_iter().filter(|other| reached(other).contains(file)).collect();
        if circle.first() == Some(file) {
            faults.push(format!("a circle: {}", circle.join(", ")));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
