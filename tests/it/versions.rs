//! Versions in one folder: what they share, what is left when some are removed, and what is said when something is missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use onecopy::{
    ArchiveOptions, ArrayInfo, Codec, Dtype, HotOptions, Model, Parts, RewriteReport, Role, Sharing,
    VerifyOptions, Writer, archive, archive_version, prune, restore, verify,
};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// Numbers without a pattern.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 60) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

struct Shelf {
    /// Files that are ready to be mapped.
    hot: TempDir,
    /// The versions.
    dir: TempDir,
}

impl Shelf {
    fn new() -> Self {
        Shelf { hot: tempfile::tempdir().unwrap(), dir: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, arrays: &[(&str, &[u8])]) -> PathBuf {
        let path = self.hot.path().join(name);
        onecopy::publish(&path, |file| {
            let mut writer = Writer::new(file, Codec::Raw)?;
            for (name, bytes) in arrays {
                let info = ArrayInfo::new(Dtype::U8, [bytes.len() as u64]);
                writer.array(name, &info, Role::Predict, &mut &bytes[..])?;
            }
            writer.finish(&Parts { metadata: format!("\"{name}\"").as_bytes(), ..Parts::default() }).map(drop)
        })
        .unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Archives a version that shares with those of the folder.
    fn keep(&self, name: &str, arrays: &[(&str, &[u8])]) -> RewriteReport {
        let hot = self.write(name, arrays);
        self.keep_beside(&hot, name, self.dir.path())
    }

    fn keep_beside(&self, hot: &Path, name: &str, base: &Path) -> RewriteReport {
        archive_version(hot, &self.path(name), base, &ArchiveOptions::default(), &|_| {}).unwrap()
    }

    fn units(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.path("onecopy-units")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "lock").collect()
    }

    /// Checks that a version is whole, and gives back the file that was archived.
    #[track_caller]
    fn comes_back(&self, name: &str) {
        verify(&self.path(name), VerifyOptions { digests: true }, &|_| {}).unwrap();
        let back = self.hot.path().join("back");
        restore(&self.path(name), &back, &|_| {}).unwrap();
        assert!(fs::read(back).unwrap() == fs::read(self.hot.path().join(name)).unwrap(), "{name}");
    }
}

fn shared(report: &RewriteReport) -> Sharing {
    report.shared.unwrap()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

#[test]
fn an_array_that_grew_shares_all_that_it_was() {
    let shelf = Shelf::new();
    let rows = noise(5 * MIB, 1);
    let lens = [2 * MIB + 300_000, 2 * MIB + 340_000, 4 * MIB + 5, 5 * MIB, 3 * MIB];
    let names = ["v1", "v2", "v3", "v4", "shorter"];
    for (name, len) in names.iter().zip(lens) {
        let report = shelf.keep(name, &[("rows", &rows[..len])]);
        let sharing = shared(&report);
        let stored: u64 = sharing.shared_bytes + sharing.new_bytes;
        match *name {
            "v1" => assert_eq!((0, 3), (sharing.shared_units, sharing.new_units)),
            // 40,000 bytes behind three units.
            "v2" => assert_eq!((3, 1), (sharing.shared_units, sharing.new_units)),
            "v3" => assert_eq!((4, 3), (sharing.shared_units, sharing.new_units)),
            "v4" => assert_eq!((7, 1), (sharing.shared_units, sharing.new_units)),
            _ => assert_eq!(
                (5, 0),
                (sharing.shared_units, sharing.new_units),
                "the third block is three units"
            ),
        }
        assert!(stored > report.source_bytes * 45 / 100 && stored < report.source_bytes * 60 / 100);
    }
    names.iter().for_each(|name| shelf.comes_back(name));
    assert_eq!(8, shelf.units().len());
}

#[test]
fn arrays_that_stayed_the_same_are_shared_whatever_their_name() {
    let shelf = Shelf::new();
    let (trees, terms) = (noise(MIB + 50_000, 1), noise(90_000, 2));
    shelf.keep("v1", &[("forest.nodes", &trees), ("terms", &terms)]);
    let other = noise(90_000, 3);
    let report = shelf.keep("v2", &[("terms", &other), ("steps.1.forest.nodes", &trees)]);
    assert_eq!((2, 1), (shared(&report).shared_units, shared(&report).new_units));
    ["v1", "v2"].iter().for_each(|name| shelf.comes_back(name));
}

#[test]
fn a_version_without_anything_in_common_takes_what_an_ordinary_archive_takes() {
    let shelf = Shelf::new();
    shelf.keep("v1", &[("rows", &noise(3 * MIB, 1))]);
    let rows = noise(3 * MIB, 2);
    let report = shelf.keep("v2", &[("rows", &rows)]);
    assert_eq!((0, 0), (shared(&report).shared_units, shared(&report).shared_bytes));
    let ordinary = shelf.hot.path().join("ordinary");
    archive(&shelf.write("v2", &[("rows", &rows)]), &ordinary, &ArchiveOptions::default(), &|_| {}).unwrap();
    let ordinary = fs::metadata(ordinary).unwrap().len();
    assert!(report.bytes < ordinary + ordinary / 200, "{} and {ordinary}", report.bytes);
}

#[test]
fn removing_a_version_keeps_what_others_need_and_pruning_frees_the_rest() {
    let shelf = Shelf::new();
    let (rows, gone) = (noise(2 * MIB, 1), noise(300_000, 2));
    shelf.keep("v1", &[("rows", &rows[..MIB + 7]), ("gone", &gone)]);
    shelf.keep("v2", &[("rows", &rows)]);
    let before = shelf.units();
    assert_eq!(0, prune(shelf.dir.path()).unwrap().removed);
    assert_eq!(before, shelf.units());
    fs::remove_file(shelf.path("v1")).unwrap();
    shelf.comes_back("v2");
    let report = prune(shelf.dir.path()).unwrap();
    assert_eq!((1, 1, 3), (report.archives, report.removed, report.kept));
    assert!(report.removed_bytes > 100_000);
    shelf.comes_back("v2");
    fs::remove_file(shelf.path("v2")).unwrap();
    prune(shelf.dir.path()).unwrap();
    assert!(shelf.units().is_empty());
}

#[test]
fn nothing_is_pruned_while_an_archive_cannot_be_read() {
    let shelf = Shelf::new();
    let rows = noise(200_000, 1);
    shelf.keep("v1.onecopy", &[("rows", &rows)]);
    let path = shelf.path("v1.onecopy");
    let whole = fs::read(&path).unwrap();
    let lists = whole.len() / 2;
    fs::remove_file(&path).unwrap();
    for at in [0, 9, 40, lists, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        put(&path, &damaged);
        let error = prune(shelf.dir.path()).unwrap_err();
        assert!(chain(&error).contains("v1.onecopy needs, so none were removed"), "{}", chain(&error));
        assert_eq!(1, shelf.units().len());
    }
    put(&path, &[]);
    prune(shelf.dir.path()).unwrap_err();
    put(&path, &whole);
    put(&shelf.path("notes.txt"), b"of no concern");
    assert_eq!(0, prune(shelf.dir.path()).unwrap().removed);
    shelf.comes_back("v1.onecopy");
}

fn put(path: &Path, bytes: &[u8]) {
    onecopy::publish(path, |file| std::io::Write::write_all(file, bytes)).unwrap();
}

#[test]
fn a_missing_or_altered_unit_is_named_with_its_archive_and_folder() {
    let shelf = Shelf::new();
    shelf.keep("v1", &[("rows", &noise(200_000, 1))]);
    let name = shelf.units().first().unwrap().clone();
    let unit = shelf.path("onecopy-units").join(&name);
    let whole = fs::read(&unit).unwrap();
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    let long = [&whole[..], &vec![0; 200_000]].concat();
    for (bytes, problem) in [
        (None, "which is not there"),
        (Some(altered), "which is damaged: it has CRC32"),
        (Some(whole[..9].to_vec()), "which is damaged: it has 9 bytes"),
        (Some(long), "bytes, expected at most 200017"),
    ] {
        fs::remove_file(&unit).unwrap();
        bytes.iter().for_each(|bytes| put(&unit, bytes));
        let path = shelf.path("v1");
        let back = shelf.hot.path().join("back");
        let options = HotOptions { cache: Some(shelf.hot.path().join("cache")), ..HotOptions::default() };
        let verified = chain(&verify(&path, VerifyOptions::default(), &|_| {}).unwrap_err());
        let restored = chain(&restore(&path, &back, &|_| {}).unwrap_err());
        let opened = chain(&Model::open_hot(&path, &options, &|_| {}).map(drop).unwrap_err());
        for told in [verified, restored, opened] {
            for part in [problem, "v1", &name, "onecopy-units", "array `rows`"] {
                assert!(told.contains(part), "expected `{part}` in: {told}");
            }
        }
        assert!(!back.exists());
        put(&unit, &whole);
    }
    shelf.comes_back("v1");
}

#[test]
fn a_damaged_unit_is_not_shared_but_made_anew() {
    let shelf = Shelf::new();
    let rows = noise(200_000, 1);
    shelf.keep("v1", &[("rows", &rows)]);
    put(&shelf.path("onecopy-units").join(shelf.units().first().unwrap()), b"spoilt");
    let report = shelf.keep("v2", &[("rows", &rows)]);
    assert_eq!((0, 1), (shared(&report).shared_units, shared(&report).new_units));
    shelf.comes_back("v1");
    shelf.comes_back("v2");
}

#[test]
fn a_version_moves_to_another_folder_as_an_archive_of_its_own() {
    let (shelf, other) = (Shelf::new(), Shelf::new());
    let rows = noise(MIB + 400_000, 1);
    let hot = shelf.write("v1", &[("rows", &rows)]);
    shelf.keep_beside(&hot, "v1", shelf.dir.path());
    let ordinary = shelf.hot.path().join("ordinary");
    archive(&shelf.path("v1"), &ordinary, &ArchiveOptions::default(), &|_| {}).unwrap();
    other.keep_beside(&shelf.path("v1"), "v1", other.dir.path());
    other.keep_beside(&ordinary, "again", &other.path("v1"));
    fs::copy(&hot, other.hot.path().join("v1")).unwrap();
    drop(shelf);
    other.comes_back("v1");
    assert_eq!(2, other.units().len());
    let link = other.hot.path().join("link");
    std::os::unix::fs::symlink(other.path("again"), &link).unwrap();
    verify(&link, VerifyOptions::default(), &|_| {}).unwrap();
}

#[test]
fn a_base_that_cannot_be_shared_with_is_refused_before_anything_is_written() {
    let shelf = Shelf::new();
    let hot = shelf.write("v1", &[("rows", &noise(100_000, 1))]);
    let refused = |dst: &Path, base: &Path| {
        chain(&archive_version(&hot, dst, base, &ArchiveOptions::default(), &|_| {}).unwrap_err())
    };
    assert!(refused(&shelf.hot.path().join("cold"), &hot).contains("not an archive of versions"));
    assert!(refused(&shelf.hot.path().join("cold"), shelf.dir.path()).contains("lie in that folder"));
    assert!(refused(&shelf.path("cold"), &shelf.path("none")).contains("cannot find"));
    assert!(chain(&prune(shelf.dir.path()).unwrap_err()).contains("no `onecopy-units` in it"));
    assert_eq!(0, fs::read_dir(shelf.dir.path()).unwrap().count());
}

#[test]
fn pruning_waits_for_those_who_archive() {
    let shelf = Shelf::new();
    let rows = noise(3 * MIB, 1);
    let hot: Vec<PathBuf> =
        (1..=12).map(|n| shelf.write(&n.to_string(), &[("rows", &rows[..n * 250_000])])).collect();
    shelf.keep_beside(&hot[0], "1", shelf.dir.path());
    let (done, shelf) = (AtomicBool::new(false), &shelf);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                prune(shelf.dir.path()).unwrap();
            }
        });
        let halves = hot[1..].chunks(6).map(|half| {
            scope.spawn(move || {
                for hot in half {
                    let name = hot.file_name().unwrap().to_str().unwrap();
                    shelf.keep_beside(hot, name, shelf.dir.path());
                }
            })
        });
        halves.collect::<Vec<_>>().into_iter().for_each(|half| half.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    (1..=12).for_each(|n| shelf.comes_back(&n.to_string()));
    assert_eq!(0, prune(shelf.dir.path()).unwrap().removed);
}

#[test]
fn what_is_shared_and_what_is_not_can_be_inspected() {
    let shelf = Shelf::new();
    let rows = noise(600_000, 1);
    shelf.keep("v1", &[("rows", &rows[..500_000])]);
    shelf.keep("v2", &[("rows", &rows)]);
    let units = |name| Model::open(shelf.path(name)).unwrap().inspect().unwrap().units.unwrap();
    let (first, second) = (units("v1"), units("v2"));
    assert_eq!((1, 2), (first.units, second.units));
    assert_eq!((0, first.bytes, 1), (first.own_bytes, first.shared_bytes, first.shared_with));
    assert_eq!(first.shared_bytes, second.shared_bytes);
    assert!(second.own_bytes > 0 && second.own_bytes * 4 < second.shared_bytes);
    fs::remove_file(shelf.path("v1")).unwrap();
    assert_eq!((0, second.bytes), (units("v2").shared_bytes, units("v2").own_bytes));
}

#[test]
fn every_changed_byte_of_a_version_is_found() {
    let shelf = Shelf::new();
    let rows = noise(MIB + 100_000, 1);
    shelf.keep("v1", &[("rows", &rows), ("small", &rows[..100])]);
    let path = shelf.path("v1");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        put(&path, &damaged);
        assert!(
            verify(&path, VerifyOptions { digests: true }, &|_| {}).is_err(),
            "byte {at} of {}",
            whole.len()
        );
    }
}
