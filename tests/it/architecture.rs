//! Layers point down: a module imports only from layers below its own, and siblings do not know each other.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up. Modules that share a row are siblings.
const LAYERS: [&[&str]; 7] = [
    &["format"],
    &["memory"],
    &["mapping"],
    &["model"],
    &["engine", "convert", "store"],
    &["ops"],
    &["serve"],
];

/// Files that may hold `unsafe`, each listed in SAFETY.md.
const UNSAFE_FILES: [&str; 6] = [
    "mapping.rs",
    "serve/fork.rs",
    "engine/kernels/compact/x86.rs",
    "engine/kernels/subtrees/x86.rs",
    "engine/kernels/avx2.rs",
    "engine/kernels/avx512.rs",
];

/// Files that cannot forbid unsafe code because a module inside them may hold it; they have none of their own.
const AROUND_UNSAFE: [&str; 6] = [
    "lib.rs",
    "serve/mod.rs",
    "engine/mod.rs",
    "engine/kernels/mod.rs",
    "engine/kernels/compact.rs",
    "engine/kernels/subtrees.rs",
];

#[test]
fn imports_point_down() {
    let wrong: Vec<String> = sources().iter().flat_map(|path| upward_imports(path)).collect();
    assert_eq!(Vec::<String>::new(), wrong);
}

#[test]
fn every_module_forbids_unsafe_unless_safety_md_lists_it() {
    let safety = fs::read_to_string(root().join("SAFETY.md")).unwrap();
    for path in sources() {
        let name = relative(&path);
        // Tests are bound by the module that they test.
        if name.ends_with("tests.rs") || name.contains("/tests/") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        if UNSAFE_FILES.contains(&name.as_str()) {
            assert!(safety.contains(&format!("src/{name}")), "SAFETY.md does not mention src/{name}");
        } else if AROUND_UNSAFE.contains(&name.as_str()) {
            assert!(!text.contains("unsafe {"), "src/{name} holds unsafe code");
        } else {
            assert!(text.contains("#![forbid(unsafe_code)]"), "src/{name} does not forbid unsafe code");
        }
    }
}

#[test]
fn the_python_module_holds_unsafe_in_one_file() {
    let folder = root().join("crates/python/src");
    for path in files(&folder) {
        let name = path.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
        let forbids = fs::read_to_string(&path).unwrap().contains("#![forbid(unsafe_code)]");
        assert_eq!(!matches!(name.as_str(), "lib.rs" | "array.rs"), forbids, "crates/python/src/{name}");
    }
}

#[test]
fn paths_named_in_the_documents_exist() {
    for document in
        ["README.md", "ARCHITECTURE.md", "SAFETY.md", "CONTRIBUTING.md", "SECURITY.md", "docs/format.md"]
    {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path =
                ["src/", "crates/", "tests/", "docs/", "examples/", "benches/", "fuzz/", "demo/", "python/"]
                    .iter()
                    .any(|folder| quoted.starts_with(folder));
            if is_path && !quoted.contains([' ', '*', '<', '{']) {
                assert!(root().join(quoted).exists(), "{document} names {quoted}, which does not exist");
            }
        }
    }
}

fn upward_imports(path: &Path) -> Vec<String> {
    let name = relative(path);
    let Some(own) = layer_of(name.split('/').next().unwrap().trim_end_matches(".rs")) else {
        return Vec::new();
    };
    let own_module = name.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
    let text = fs::read_to_string(path).unwrap();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.match_indices("crate::").map(move |(at, _)| &line[at + "crate::".len()..]))
        .filter_map(|rest| {
            let module: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let allowed = module == own_module || layer_of(&module).is_some_and(|other| other < own);
            (!allowed).then(|| format!("src/{name} imports crate::{module}"))
        })
        .collect()
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned()
}

fn sources() -> Vec<PathBuf> {
    files(&root().join("src"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}
