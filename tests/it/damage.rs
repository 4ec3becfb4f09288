//! Files that were damaged on their way: every byte that is not the one that was written is found, and nothing crashes.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ndarray::Array2;
use onecopy::{
    AlignedBytes, ArchiveOptions, Level, Method, Model, Progress, RunOptions, VerifyOptions, archive,
    publish, restore,
};

const QUIET: &(dyn Fn(Progress) + Sync) = &|_| {};
const FLIPS: u64 = 10_000;
const CUTS: u64 = 1_000;
/// Of so many damaged files one is restored, and one of them asked for answers, whatever `verify` says.
const USED: u64 = 20;

/// Numbers without a pattern, the same at every call.
fn random(seed: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

/// Models that scikit-learn trained: ready to be mapped, at every level of archives, and the golden archives.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files = Vec::new();
    for name in ["boosted", "forest", "histogram", "pipeline", "shared", "subtrees", "text", "values"] {
        let hot = golden.join("hot").join(format!("{name}.onecopy"));
        files.push((format!("{name} hot"), fs::read(&hot).unwrap()));
        for level in Level::ALL {
            let cold = dir.join("cold");
            archive(&hot, &cold, &ArchiveOptions { level }, QUIET).unwrap();
            files.push((format!("{name} {level}"), fs::read(&cold).unwrap()));
        }
    }
    let mut archives: Vec<PathBuf> =
        fs::read_dir(golden.join("archives")).unwrap().map(|entry| entry.unwrap().path()).collect();
    archives.sort();
    files.extend(archives.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())));
    files
}

fn is_found(file: &[u8]) -> bool {
    match Model::from_bytes(AlignedBytes::copy_from(file)) {
        Err(_) => true,
        Ok(model) => model.verify(VerifyOptions::default(), QUIET).is_err(),
    }
}

/// Uses what was not verified. Whatever comes of it, it comes.
fn used(file: &[u8], dir: &Path) {
    let Ok(model) = Model::from_bytes(AlignedBytes::copy_from(file)) else { return };
    let _ = (model.inspect(), model.graph());
    if model.is_cold() {
        let [from, to] = ["damaged", "restored"].map(|name| dir.join(name));
        publish(&from, |out| std::io::Write::write_all(out, file)).unwrap();
        assert!(restore(&from, &to, QUIET).is_err(), "a damaged archive was restored");
        return;
    }
    for columns in 1..20 {
        let x = Array2::<f64>::from_elem((3, columns), 0.5);
        for method in Method::ALL {
            let _ = model.run(method, &x, &RunOptions::default());
        }
    }
}

#[test]
fn no_flipped_byte_and_no_cut_is_overlooked_and_none_crashes_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    for (name, file) in &files {
        assert!(!is_found(file), "{name} is damaged before it is damaged");
    }
    let each = |count: u64, damage: &dyn Fn(&mut Vec<u8>, u64)| {
        for number in 0..count {
            let (name, file) = &files[number as usize % files.len()];
            let mut file = file.clone();
            damage(&mut file, random(number));
            let tried = catch_unwind(AssertUnwindSafe(|| {
                let found = is_found(&file);
                if number % USED == 0 {
                    used(&file, dir.path());
                }
                found
            }));
            assert!(matches!(tried, Ok(true)), "damage {number}, of {name}: {tried:?}");
        }
    };
    each(FLIPS, &|file, random| {
        let at = random as usize % file.len();
        file[at] ^= (random >> 40) as u8 % 255 + 1;
    });
    each(CUTS, &|file, random| file.truncate(random as usize % file.len()));
}
