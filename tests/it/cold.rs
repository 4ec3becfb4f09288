//! Using archives: restored once, where all processes find it, or in memory that nobody can change.

use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use onecopy::{
    ArchiveOptions, Cache, FileWriter, HotError, HotOptions, Mapping, Model, OpenError, Progress, Share,
    archive,
};
use tempfile::tempdir;

const QUIET: &(dyn Fn(Progress) + Sync) = &|_| {};

/// An archive of an array of that many numbers, and the file that was archived.
fn archived(dir: &Path, numbers: usize) -> (PathBuf, PathBuf) {
    let (hot, cold) = (dir.join(format!("{numbers}.onecopy")), dir.join(format!("{numbers}.cold")));
    let mut file = FileWriter::create(&hot).unwrap();
    file.array("x", &ndarray::Array1::from_iter((0..numbers).map(|i| (i % 1000) as f64))).unwrap();
    file.finish().unwrap();
    archive(&hot, &cold, &ArchiveOptions::default(), QUIET).unwrap();
    (hot, cold)
}

fn in_cache(folder: &Path) -> HotOptions {
    HotOptions { cache: Some(folder.to_owned()), ..HotOptions::default() }
}

fn in_memory() -> HotOptions {
    HotOptions { share: Share::Memfd, ..HotOptions::default() }
}

fn guarded() -> HotOptions {
    HotOptions { guard: true, ..HotOptions::default() }
}

fn last(model: &Model<Mapping>) -> f64 {
    *model.array("x").unwrap().values::<f64>().unwrap().last().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn what_is_restored_has_every_byte_of_what_was_archived() {
    let dir = tempdir().unwrap();
    let (hot, cold) = archived(dir.path(), 300_000);
    let model = Model::open_hot(&cold, &in_cache(&dir.path().join("c")), QUIET).unwrap();
    assert!(!model.is_cold());
    let expected = fs::read(&hot).unwrap();
    assert!(expected == fs::read(model.data().path()).unwrap());
    for options in [in_memory(), guarded()] {
        let model = Model::open_hot(&cold, &options, QUIET).unwrap();
        assert!(expected == model.data().as_ref());
    }
}

#[test]
fn one_of_many_that_ask_at_once_does_the_work() {
    let dir = tempdir().unwrap();
    let (_, cold) = archived(dir.path(), 4_000_000);
    let (options, start) = (in_cache(&dir.path().join("c")), Barrier::new(8));
    let restored = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                let wrote = AtomicU32::new(0);
                let told = |progress: Progress| {
                    if progress.what != "waiting" {
                        wrote.store(1, Ordering::Relaxed);
                    }
                };
                let model = Model::open_hot(&cold, &options, &told).unwrap();
                assert_eq!(999.0, last(&model));
                restored.fetch_add(wrote.into_inner(), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(1, restored.into_inner());
    assert_eq!(1, names(&dir.path().join("c")).len());
}

#[test]
fn a_cache_tells_what_it_holds_and_can_be_cleared_under_its_readers() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("c");
    let cache = Cache::at(&folder).unwrap();
    assert_eq!(Vec::<String>::new(), entries(&cache));
    assert_eq!(0, cache.clear().unwrap().entries);
    let models: Vec<Model<Mapping>> = [1_000, 2_000]
        .map(|numbers| Model::open_hot(archived(dir.path(), numbers).1, &in_cache(&folder), QUIET).unwrap())
        .into();
    assert_eq!(models.iter().map(|model| model.digest().to_string()).collect::<Vec<_>>(), entries(&cache));
    let again = Model::open_hot(dir.path().join("1000.cold"), &in_cache(&folder), QUIET).unwrap();
    assert_eq!(again.digest().to_string(), entries(&cache)[1]);
    assert_eq!(fs::metadata(again.data().path()).unwrap().len(), cache.entries().unwrap()[1].bytes);
    onecopy::publish(&folder.join("mine.txt"), |file| file.write_all(b"mine")).unwrap();
    let cleared = cache.clear().unwrap();
    assert_eq!((2, again.len_bytes() + models[1].len_bytes()), (cleared.entries, cleared.bytes));
    assert_eq!(vec!["mine.txt".to_owned()], names(&folder));
    assert!(models.iter().all(|model| last(model) == 999.0));
}

fn entries(cache: &Cache) -> Vec<String> {
    cache.entries().unwrap().into_iter().map(|entry| entry.digest).collect()
}

#[test]
fn memory_that_is_shared_is_sealed_and_can_be_mapped_by_its_descriptor() {
    let dir = tempdir().unwrap();
    let (hot, cold) = archived(dir.path(), 100_000);
    for (path, options) in [(&hot, in_memory()), (&cold, in_memory()), (&hot, guarded()), (&cold, guarded())]
    {
        let model = Model::open_hot(path, &options, QUIET).unwrap();
        let sent = fs::File::from(model.data().sealed().unwrap().try_clone_to_owned().unwrap());
        let received = Model::from_sealed(sent, "received").unwrap();
        drop(model);
        assert_eq!(999.0, last(&received));
        assert_eq!(Path::new("received"), received.data().path());
    }
    assert!(Model::open(&hot).unwrap().data().sealed().is_none());
}

#[test]
fn what_others_could_change_is_not_taken_for_sealed_memory() {
    let dir = tempdir().unwrap();
    let (hot, _) = archived(dir.path(), 1_000);
    let error = Model::from_sealed(fs::File::open(&hot).unwrap(), "received").unwrap_err();
    assert!(error.to_string().contains("received is no sealed file in memory"), "{error}");
    let memory =
        nix::sys::memfd::memfd_create(c"open", nix::sys::memfd::MFdFlags::MFD_ALLOW_SEALING).unwrap();
    let mut memory = fs::File::from(memory);
    memory.write_all(&fs::read(&hot).unwrap()).unwrap();
    let error = Model::from_sealed(memory.try_clone().unwrap(), "received").unwrap_err();
    assert!(matches!(error, OpenError::Map(_)), "{error}");
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    let seals = [SealFlag::F_SEAL_SHRINK, SealFlag::F_SEAL_GROW, SealFlag::F_SEAL_FUTURE_WRITE];
    for seal in seals {
        fcntl(&memory, FcntlArg::F_ADD_SEALS(seal)).unwrap();
        assert!(Model::from_sealed(memory.try_clone().unwrap(), "received").is_err());
    }
    fcntl(&memory, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).unwrap();
    assert_eq!(999.0, last(&Model::from_sealed(memory, "received").unwrap()));
    let (reader, _writer) = nix::unistd::pipe().unwrap();
    assert!(Model::from_sealed(fs::File::from(reader), "received").is_err());
}

#[test]
fn a_guarded_file_may_be_overwritten_cut_short_and_removed() {
    let dir = tempdir().unwrap();
    let (hot, cold) = archived(dir.path(), 500_000);
    for path in [hot, cold] {
        let model = Model::open_hot(&path, &guarded(), QUIET).unwrap();
        let mut file = fs::File::options().write(true).open(&path).unwrap();
        file.rewind().unwrap();
        file.write_all(&vec![0xff; 1 << 20]).unwrap();
        file.set_len(1).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(999.0, last(&model));
    }
}

#[test]
fn a_guard_finds_every_flipped_byte() {
    let dir = tempdir().unwrap();
    let (hot, cold) = archived(dir.path(), 5_000);
    for path in [hot, cold] {
        let mut content = Vec::new();
        fs::File::open(&path).unwrap().read_to_end(&mut content).unwrap();
        let step = content.len() / 150 + 1;
        for at in (0..content.len()).step_by(step) {
            content[at] ^= 0x10;
            let spoiled = dir.path().join("spoiled");
            onecopy::publish(&spoiled, |file| file.write_all(&content)).unwrap();
            let found = Model::open_hot(&spoiled, &guarded(), QUIET);
            assert!(found.is_err(), "byte {at} of {} is not checked", path.display());
            content[at] ^= 0x10;
        }
    }
}

#[test]
fn an_archive_that_would_take_far_more_memory_than_archives_do_is_refused_before_it_does() {
    let dir = tempdir().unwrap();
    let (hot, cold) = (dir.path().join("hot"), dir.path().join("cold"));
    let mut file = FileWriter::create(&hot).unwrap();
    let zeros = ndarray::Array1::<u8>::zeros((1 << 30) + 1);
    file.array("x", &zeros).unwrap();
    file.finish().unwrap();
    archive(&hot, &cold, &ArchiveOptions::default(), QUIET).unwrap();
    for options in [in_memory(), guarded()] {
        let error = Model::open_hot(&cold, &options, QUIET).unwrap_err();
        assert!(matches!(error, HotError::Memory { .. }), "{error}");
    }
}

#[test]
fn a_secret_archive_stays_secret_when_it_is_restored() {
    let dir = tempdir().unwrap();
    let (_, cold) = archived(dir.path(), 1_000);
    fs::set_permissions(&cold, fs::Permissions::from_mode(0o600)).unwrap();
    let model = Model::open_hot(&cold, &in_cache(&dir.path().join("c")), QUIET).unwrap();
    assert_eq!(0o400, fs::metadata(model.data().path()).unwrap().permissions().mode() & 0o7777);
}
