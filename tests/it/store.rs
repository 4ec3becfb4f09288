//! Publishing files.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use onecopy::{FileWriter, Model, publish};
use tempfile::tempdir;

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    publish(path, |file| file.write_all(bytes)).map_err(|error| error.to_string())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_file_is_readable_by_others_as_far_as_the_umask_lets_it() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("new");
    write(&path, b"x").unwrap();
    assert_eq!(0o600, mode(&path) & 0o600);
    assert_eq!(0, mode(&path) & 0o133, "{:o}", mode(&path));
}

#[test]
fn a_replaced_file_keeps_its_permissions() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("old");
    write(&path, b"x").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    write(&path, b"y").unwrap();
    assert_eq!(0o400, mode(&path));
    assert_eq!(b"y", &fs::read(&path).unwrap()[..]);
}

#[test]
fn directories_devices_and_missing_folders_are_refused_by_name() {
    let dir = tempdir().unwrap();
    let error = write(dir.path(), b"x").unwrap_err();
    assert!(error.contains("it is a directory") && error.contains(dir.path().to_str().unwrap()), "{error}");
    let error = write(Path::new("/dev/null"), b"x").unwrap_err();
    assert!(error.contains("cannot write /dev/null: it is a device"), "{error}");
    let error = write(&dir.path().join("no/such"), b"x").unwrap_err();
    assert!(error.contains("cannot create a file in") && error.contains("/no"), "{error}");
    assert_eq!(0, fs::read_dir(dir.path()).unwrap().count());
}

#[test]
fn a_link_is_replaced_and_what_it_names_is_untouched() {
    let dir = tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    write(&target, b"target").unwrap();
    symlink(&target, &link).unwrap();
    write(&link, b"new").unwrap();
    assert_eq!(b"target", &fs::read(&target).unwrap()[..]);
    assert_eq!(b"new", &fs::read(&link).unwrap()[..]);
}

#[test]
fn readers_of_a_replaced_file_keep_what_they_opened() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("m.onecopy");
    let save = |value: f64| {
        let mut file = FileWriter::create(&path).unwrap();
        file.array("x", &ndarray::arr1(&[value; 3000])).unwrap();
        file.finish().unwrap();
    };
    save(1.0);
    let old = Model::open(&path).unwrap();
    save(2.0);
    let new = Model::open(&path).unwrap();
    assert_eq!(1.0, old.array("x").unwrap().values::<f64>().unwrap()[2999]);
    assert_eq!(2.0, new.array("x").unwrap().values::<f64>().unwrap()[2999]);
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let dir = tempdir().unwrap();
    let mut file = FileWriter::create(dir.path().join("m.onecopy")).unwrap();
    file.array("x", &ndarray::arr1(&[1.0])).unwrap();
    drop(file);
    assert_eq!(0, fs::read_dir(dir.path()).unwrap().count());
}

#[test]
fn a_closure_that_fails_gives_its_own_error() {
    let dir = tempdir().unwrap();
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let error = publish(&dir.path().join("f"), |_| Err::<(), _>(full())).unwrap_err();
    assert_eq!(full().to_string(), error.to_string());
}
