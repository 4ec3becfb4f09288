//! Files as bytes in memory.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use onecopy::{FileWriter, Model, OpenOptions};
use tempfile::tempdir;

fn refused(path: &Path) -> String {
    let error = Model::open(path).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "{text} does not name the path");
    match std::error::Error::source(&error) {
        Some(source) => format!("{text}: {source}"),
        None => text,
    }
}

fn saved(dir: &Path, arrays: usize) -> PathBuf {
    let path = dir.join(format!("{arrays}.onecopy"));
    let mut file = FileWriter::create(&path).unwrap();
    for i in 0..arrays {
        file.array(&format!("array {i}"), &ndarray::Array1::from_elem(10_000, i as f64)).unwrap();
    }
    file.finish().unwrap();
    path
}

#[test]
fn what_is_not_a_file_with_bytes_is_refused_by_kind() {
    let dir = tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    assert!(refused(dir.path()).contains("is a directory, expected a regular file"));
    assert!(refused(&path("missing")).contains("No such file"));
    fs::File::options().write(true).create_new(true).open(path("empty")).unwrap();
    assert!(refused(&path("empty")).contains("is empty"));
    nix_mkfifo(&path("fifo"));
    assert!(refused(&path("fifo")).contains("is a FIFO"));
    assert!(refused(Path::new("/dev/zero")).contains("is a device"));
    let _socket = UnixListener::bind(path("socket")).unwrap();
    refused(&path("socket"));
    symlink(path("loop"), path("loop")).unwrap();
    refused(&path("loop"));
}

fn nix_mkfifo(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

#[test]
fn foreign_files_are_refused_with_what_they_may_be() {
    let dir = tempdir().unwrap();
    let cases: [(&str, &[u8], &str); 5] = [
        ("pickle", b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00", "pickle or joblib"),
        ("zip", b"PK\x03\x04aaaaaaaa", "zip file"),
        ("zeros", &[0; 4096], "was not finished"),
        ("text", b"\x89ONC\n\x1a\naaaaaaaaaa", "text-mode copy"),
        ("other", b"hello", "68 65 6c 6c 6f"),
    ];
    for (name, bytes, expected) in cases {
        let path = dir.path().join(name);
        onecopy::publish(&path, |file| std::io::Write::write_all(file, bytes)).unwrap();
        let error = refused(&path);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_file_is_mapped_once_whatever_the_number_of_arrays() {
    let dir = tempdir().unwrap();
    let path = saved(dir.path(), 300);
    let model = Model::open(&path).unwrap();
    let sum: f64 = model.arrays().map(|array| array.values::<f64>().unwrap()[9_999]).sum();
    assert_eq!(300.0 * 299.0 / 2.0, sum);
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert_eq!(1, maps.lines().filter(|line| line.ends_with(path.to_str().unwrap())).count());
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let open = open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    // The one that a private mapping of the same file would need.
    assert_eq!(1, open.filter(|target| *target == path).count());
}

#[test]
fn opening_with_all_options_gives_the_same_arrays() {
    let dir = tempdir().unwrap();
    let path = saved(dir.path(), 5);
    let options = OpenOptions { populate: true, huge_pages: true };
    let model = Model::open_with(&path, &options).unwrap();
    assert_eq!(4.0, model.array("array 4").unwrap().values::<f64>().unwrap()[0]);
    assert_eq!(5, model.arrays().count());
}

#[test]
fn a_mapping_outlives_the_name_of_its_file() {
    let dir = tempdir().unwrap();
    let path = saved(dir.path(), 1);
    let model = Model::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(0.0, model.array("array 0").unwrap().values::<f64>().unwrap()[0]);
}
