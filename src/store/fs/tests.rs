//! Publishing, stopped at every step.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::{NamedTempFile, TempDir, tempdir};

use super::{PublishError, RealSteps, StepError, Steps, Unpublished, publish_by, temporary};

/// What happens at the step at which publishing ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The system refuses the step; the process lives on.
    Refused,
    /// The process dies before the step; nobody cleans up.
    DiesBefore,
    /// The process dies after the step; nobody cleans up.
    DiesAfter,
}

/// Takes steps until it is time to stop.
struct StoppingSteps {
    stop_at: usize,
    end: End,
    /// As on a file system where every file has a name.
    named: bool,
    taken: usize,
}

impl StoppingSteps {
    fn step<T>(&mut self, take: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let number = self.taken;
        self.taken += 1;
        if number < self.stop_at {
            return take();
        }
        if number == self.stop_at && self.end == End::DiesAfter {
            take()?;
        }
        Err(io::Error::other("stopped"))
    }

    fn dies(&self) -> bool {
        self.end != End::Refused
    }
}

impl Steps for StoppingSteps {
    fn create(&mut self, dir: &Path, prefix: &str, mode: u32) -> io::Result<Unpublished> {
        let (dies, named) = (self.dies(), self.named);
        self.step(|| {
            if !named {
                return RealSteps.create(dir, prefix, mode);
            }
            let mut file = temporary(prefix).permissions(Permissions::from_mode(mode)).tempfile_in(dir)?;
            file.disable_cleanup(dies);
            Ok(Unpublished::Named(file))
        })
    }

    fn link(&mut self, file: &File, path: &Path) -> io::Result<bool> {
        self.step(|| RealSteps.link(file, path))
    }

    fn name(&mut self, file: Unpublished, dir: &Path, prefix: &str) -> io::Result<NamedTempFile> {
        let dies = self.dies();
        self.step(|| {
            let mut file = RealSteps.name(file, dir, prefix)?;
            file.disable_cleanup(dies);
            Ok(file)
        })
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.step(|| RealSteps.sync(file))
    }

    fn rename(&mut self, file: NamedTempFile, path: &Path) -> io::Result<()> {
        self.step(|| RealSteps.rename(file, path))
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.step(|| RealSteps.sync_dir(dir))
    }
}

const STEPS: usize = 5;
/// Steps before the new file is in place.
const RENAME: usize = 3;

/// A directory with an old file, and what publishing a new one over it gave.
fn stopped(stop_at: usize, end: End, named: bool) -> (TempDir, Result<(), PublishError<io::Error>>) {
    let dir = tempdir().unwrap();
    let path = dir.path().join("m.onecopy");
    publish_by(RealSteps, &path, |file| file.write_all(b"old")).unwrap();
    let steps = StoppingSteps { stop_at, end, named, taken: 0 };
    let result = publish_by(steps, &path, |file| file.write_all(b"new content"));
    (dir, result)
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_step_is_counted() {
    assert!(stopped(STEPS, End::Refused, false).1.is_ok());
    assert!(stopped(STEPS - 1, End::Refused, false).1.is_err());
}

#[test]
fn a_refused_step_leaves_the_old_file_or_the_new_one_and_nothing_else() {
    for (step, named) in (0..STEPS).flat_map(|step| [(step, false), (step, true)]) {
        let (dir, result) = stopped(step, End::Refused, named);
        let path = dir.path().join("m.onecopy");
        // Only the sync of the directory comes after the rename.
        let expected: &[u8] = if step == STEPS - 1 { b"new content" } else { b"old" };
        assert_eq!(expected, fs::read(&path).unwrap(), "step {step}");
        assert_eq!(["m.onecopy"], names(&dir)[..], "step {step}");
        let PublishError::Step(StepError::Io { path: named, .. }) = result.unwrap_err() else {
            panic!("step {step} is not named");
        };
        assert!(named.starts_with(dir.path()), "step {step} names {}", named.display());
    }
}

#[test]
fn a_process_that_dies_at_any_step_leaves_the_old_file_or_the_new_one_whole() {
    for end in [End::DiesBefore, End::DiesAfter] {
        for (step, named) in (0..STEPS).flat_map(|step| [(step, false), (step, true)]) {
            let (dir, result) = stopped(step, end, named);
            assert!(result.is_err());
            let content = fs::read(dir.path().join("m.onecopy")).unwrap();
            let taken = if end == End::DiesAfter { step + 1 } else { step };
            let renamed = taken > RENAME;
            let expected: &[u8] = if renamed { b"new content" } else { b"old" };
            assert_eq!(expected, content, "step {step}");
            let left: Vec<String> = names(&dir).into_iter().filter(|name| name != "m.onecopy").collect();
            // Without a name until the last moment, a file leaves nothing of a process that dies while writing.
            let lingers = taken == RENAME || (named && (1..RENAME).contains(&taken));
            assert_eq!(usize::from(lingers), left.len(), "step {step}: {left:?}");
            left.iter().for_each(|name| {
                assert!(name.starts_with(".m.onecopy.") && name.ends_with(".tmp"), "{name}");
            });
        }
    }
}

#[test]
fn where_no_file_was_any_stop_leaves_none_or_the_whole_one() {
    for (step, end) in
        (0..4).flat_map(|step| [(step, End::Refused), (step, End::DiesBefore), (step, End::DiesAfter)])
    {
        let dir = tempdir().unwrap();
        let path = dir.path().join("m.onecopy");
        let steps = StoppingSteps { stop_at: step, end, named: false, taken: 0 };
        assert!(publish_by(steps, &path, |file| file.write_all(b"new content")).is_err(), "step {step}");
        let there = step == 3 || (step == 2 && end == End::DiesAfter);
        let expected: &[&str] = if there { &["m.onecopy"] } else { &[] };
        assert_eq!(expected, names(&dir), "step {step}");
        assert!(!there || fs::read(&path).unwrap() == b"new content");
    }
}

#[test]
fn a_file_that_appears_meanwhile_is_replaced() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("m.onecopy");
    let write = |file: &mut File| {
        publish_by(RealSteps, &path, |other| other.write_all(b"of another process")).unwrap();
        file.write_all(b"new content")
    };
    publish_by(RealSteps, &path, write).unwrap();
    assert_eq!(b"new content", &fs::read(&path).unwrap()[..]);
    assert_eq!(["m.onecopy"], names(&dir)[..]);
}

#[test]
fn writing_that_fails_half_way_leaves_the_old_file_and_nothing_else() {
    let (dir, _) = stopped(0, End::Refused, false);
    let path = dir.path().join("m.onecopy");
    let result = publish_by(RealSteps, &path, |file| {
        file.write_all(b"half")?;
        Err::<(), _>(io::Error::from(io::ErrorKind::StorageFull))
    });
    assert!(matches!(result, Err(PublishError::Write(_))));
    assert_eq!(b"old", &fs::read(&path).unwrap()[..]);
    assert_eq!(["m.onecopy"], names(&dir)[..]);
}
