//! Every system call of writing, archiving, restoring and caching, made to fail or to be the last one, in turn: the old file
//! or the new one is there, whole, and nothing else is left.
//!
//! The command runs under `ptrace`, so that no call escapes, whichever library makes it.

mod tracer;

use std::fs;
use std::path::Path;

use tracer::{Ended, Fault, run};

use crate::house::House;

/// What may be done to a folder, and what it does.
struct Work {
    /// The words of the command, with its input last.
    words: &'static str,
    input: &'static str,
    /// Where its result goes.
    output: &'static str,
    /// Whether there is a file already.
    replaces: bool,
}

const WORKS: [Work; 5] = [
    Work { words: "convert -o out.onecopy", input: "x.npy", output: "out.onecopy", replaces: false },
    Work { words: "archive -o out.onecopy", input: "scaler.onecopy", output: "out.onecopy", replaces: false },
    Work { words: "archive -o out.onecopy", input: "scaler.onecopy", output: "out.onecopy", replaces: true },
    Work { words: "restore -o out.onecopy", input: "cold", output: "out.onecopy", replaces: false },
    Work { words: "restore -o out.onecopy", input: "cold", output: "out.onecopy", replaces: true },
];

/// A folder with what the works need.
fn furnished() -> House {
    let house = House::with_model();
    house.npy("x.npy", &[4, 3]);
    house.run("archive scaler.onecopy -o cold").quiet();
    house
}

#[test]
fn writing_archiving_and_restoring_leave_the_old_file_or_the_new_one() {
    let house = furnished();
    for work in &WORKS {
        let output = house.path(work.output);
        house.run(&format!("{} {}", work.words, work.input)).quiet();
        let new = house.read(work.output);
        let before = |replaces: bool| {
            let _ = fs::remove_file(&output);
            if replaces {
                house.put(work.output, b"old");
            }
            house.names()
        };
        let mut middle = 0;
        for kill in [false, true] {
            for at in 0.. {
                let names = before(work.replaces);
                let ended = run(
                    &house,
                    &format!("{} {}", work.words, work.input),
                    Fault { input: work.input, at, kill },
                );
                let place = format!("`{}`, call {at} ({})", work.words, ended.told());
                let found = fs::read(&output).ok();
                let is_new = found.as_ref() == Some(&new);
                let is_old = found == work.replaces.then(|| b"old".to_vec());
                assert!(is_new || is_old, "{place}: {} bytes", found.map_or(0, |found| found.len()));
                let left = leftovers(&house, &names, work.output);
                // Killed after the new file got a name of its own and before it got that of the old one.
                let named = kill && work.replaces && is_old && left.len() == 1;
                assert!(left.is_empty() || named && house.read(&left[0]) == new, "{place} left {left:?}");
                left.iter().for_each(|name| fs::remove_file(house.path(name)).unwrap());
                match ended {
                    Ended::Untouched(code) => {
                        assert_eq!(Some(0), code, "{place}");
                        break;
                    }
                    Ended::Touched { code: Some(0), .. } => assert!(is_new, "{place}"),
                    Ended::Touched { .. } => middle += u32::from(is_old),
                }
            }
        }
        assert!(middle > 10, "only {middle} faults came before the file was there");
    }
}

fn leftovers(house: &House, before: &[String], output: &str) -> Vec<String> {
    house.names().into_iter().filter(|name| name != output && !before.contains(name)).collect()
}

#[test]
fn caching_leaves_a_whole_file_or_none_and_the_next_process_gets_it() {
    let house = furnished();
    let words = "predict --cache c --method transform -o y.npy cold x.npy";
    house.run(words).quiet();
    let cache = house.path("c");
    let entry = names_in(&cache).remove(0);
    let (whole, answer) = (fs::read(cache.join(&entry)).unwrap(), house.read("y.npy"));
    for kill in [false, true] {
        for at in 0.. {
            let _ = fs::remove_dir_all(&cache);
            let ended = run(&house, words, Fault { input: "cold", at, kill });
            let place = format!("call {at} ({})", ended.told());
            for name in names_in(&cache) {
                let content = fs::read(cache.join(&name)).unwrap();
                let lock = name.ends_with(".lock") && content.is_empty();
                assert!(lock || (name == entry && content == whole), "{place} left {name}");
            }
            house.run(words).quiet();
            assert_eq!(vec![entry.clone()], without_locks(&cache), "{place}");
            assert!(
                whole == fs::read(cache.join(&entry)).unwrap() && answer == house.read("y.npy"),
                "{place}"
            );
            if matches!(ended, Ended::Untouched(_)) {
                assert!(at > 20, "only {at} calls were seen");
                break;
            }
        }
    }
}

/// A folder with two versions, of which the first lies in `shelf`.
fn shelved() -> House {
    let house = House::new();
    house.linear("v1.onecopy", 40);
    house.linear("v2.onecopy", 60);
    fs::create_dir(house.path("shelf")).unwrap();
    house.run("archive v1.onecopy --base shelf -o shelf/v1.onecopy").quiet();
    house
}

fn units_of(house: &House) -> Vec<String> {
    let mut names = names_in(&house.path("shelf/onecopy-units"));
    names.retain(|name| name != "lock");
    names.sort();
    names
}

/// Checks that a version is whole.
fn comes_back(house: &House, name: &str, place: &str) {
    house.run(&format!("restore shelf/{name} -o back")).quiet();
    assert!(house.read("back") == house.read(name), "{place}: {name}");
    fs::remove_file(house.path("back")).unwrap();
}

#[test]
fn archiving_a_version_leaves_the_others_whole_and_units_that_can_be_pruned() {
    let house = shelved();
    let first = units_of(&house);
    let words = "archive --base shelf -o shelf/v2.onecopy v2.onecopy";
    house.run(words).quiet();
    let (both, new) = (units_of(&house), house.read("shelf/v2.onecopy"));
    assert_eq!(first.len() + 1, both.len());
    for kill in [false, true] {
        for at in 0.. {
            let _ = fs::remove_file(house.path("shelf/v2.onecopy"));
            house.run("prune shelf").quiet();
            assert_eq!(first, units_of(&house));
            let ended = run(&house, words, Fault { input: "v2.onecopy", at, kill });
            let place = format!("call {at} ({})", ended.told());
            let found = fs::read(house.path("shelf/v2.onecopy")).ok();
            assert!(found.as_ref().is_none_or(|found| *found == new), "{place}");
            assert!(
                units_of(&house).iter().all(|name| both.contains(name)),
                "{place}: {:?}",
                units_of(&house)
            );
            comes_back(&house, "v1.onecopy", &place);
            if found.is_some() {
                comes_back(&house, "v2.onecopy", &place);
            }
            house.run("prune shelf").quiet();
            assert_eq!(if found.is_some() { &both } else { &first }, &units_of(&house), "{place}");
            let mut names = names_in(&house.path("shelf"));
            names.retain(|name| !matches!(name.as_str(), "onecopy-units" | "v1.onecopy" | "v2.onecopy"));
            assert!(names.is_empty(), "{place} left {names:?}");
            if matches!(ended, Ended::Untouched(_)) {
                assert!(found.is_some() && at > 30, "only {at} calls were seen");
                break;
            }
        }
    }
}

#[test]
fn pruning_removes_nothing_that_a_version_needs() {
    let house = shelved();
    let first = units_of(&house);
    for kill in [false, true] {
        for at in 0.. {
            house.run("archive --base shelf -o shelf/v2.onecopy v2.onecopy").quiet();
            fs::remove_file(house.path("shelf/v2.onecopy")).unwrap();
            let ended = run(&house, "prune shelf", Fault { input: "shelf/onecopy-units/lock", at, kill });
            let place = format!("call {at} ({})", ended.told());
            assert!(first.iter().all(|name| units_of(&house).contains(name)), "{place}");
            comes_back(&house, "v1.onecopy", &place);
            if matches!(ended, Ended::Untouched(_)) {
                assert!(first == units_of(&house) && at > 5, "only {at} calls were seen");
                break;
            }
        }
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn without_locks(folder: &Path) -> Vec<String> {
    names_in(folder).into_iter().filter(|name| !name.ends_with(".lock")).collect()
}
