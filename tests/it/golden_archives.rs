//! Archives that were written when a way of storing arrays was new: all of them stay readable.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use onecopy::{
    ArchiveOptions, ArrayInfo, Codec, Dtype, Field, Kind, Level, Model, Parts, Plain, Record, Role,
    VerifyOptions, Writer, archive, archive_version, restore,
};

/// A file of `tests/golden/archives`, how its arrays are stored, and what they are.
struct Golden {
    name: &'static str,
    codecs: &'static [&'static str],
    arrays: Vec<(ArrayInfo, Vec<u8>)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/archives")
}

/// Numbers below `end` without a pattern, the same at every call.
fn random(count: u64, end: u64) -> impl Iterator<Item = u64> + Clone {
    (1..=count).map(move |seed| {
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed ^ mixed >> 32) % end
    })
}

fn floats(values: impl Iterator<Item = f64>) -> Vec<u8> {
    values.flat_map(f64::to_le_bytes).collect()
}

fn goldens() -> Vec<Golden> {
    let array = |dtype: Dtype, shape: &[u64], bytes: Vec<u8>| (ArrayInfo::new(dtype, shape), bytes);
    let bytes = |bytes: Vec<u8>| array(Dtype::U8, &[bytes.len() as u64], bytes);
    let sum = |step: u64| {
        move |sum: &mut u64, number: u64| {
            *sum += number * step;
            Some(*sum)
        }
    };
    let root = |number: u64| (number as f64).sqrt();
    let plain = |kind, itemsize| Plain::new(kind, itemsize);
    let field = |name: &str, dtype, offset| Field { name: name.to_owned(), dtype, shape: Vec::new(), offset };
    let fields = vec![
        field("id", plain(Kind::Int, 8), 0),
        field("half", plain(Kind::Float, 4), 8),
        field("name", plain(Kind::Bytes, 3), 13),
    ];
    let record = Dtype::Record(Arc::new(Record { fields, itemsize: 17, aligned: false }));
    let rows = random(200, 9).enumerate().flat_map(|(i, half)| {
        [&(i as u64 * 7).to_le_bytes()[..], &(half as f32 / 2.0).to_le_bytes(), b"\0abc\0"].concat()
    });
    let table = random(300, 1 << 20).enumerate().flat_map(|(i, x)| [i as f64 * 1.5, (x % 3) as f64, root(x)]);
    let roots = floats(random(99, 1 << 30).map(root));
    let one =
        |name, codec: &'static [&'static str], array| Golden { name, codecs: codec, arrays: vec![array] };
    vec![
        one("stored", &["as it is"], bytes(random(400, 256).map(|x| x as u8).collect())),
        one("zstd", &["zstd"], bytes(b"to be or not to be, that is the question ".repeat(9))),
        one(
            "shuffle",
            &["shuffle4 + "],
            array(
                Dtype::F32,
                &[400],
                random(400, 1 << 20).flat_map(|x| (100.0 + x as f32 / 2e5).to_le_bytes()).collect(),
            ),
        ),
        one("delta", &["delta1 + zstd"], bytes(random(700, 3).scan(0, sum(1)).map(|x| x as u8).collect())),
        one(
            "delta-shuffle",
            &["delta8 + shuffle8 + zstd"],
            array(Dtype::I64, &[300], random(300, 3000).scan(0, sum(1)).flat_map(u64::to_le_bytes).collect()),
        ),
        one(
            "dictionary-8",
            &["dictionary8 (5 values) + "],
            array(Dtype::F64, &[400], floats(random(400, 5).map(root))),
        ),
        one(
            "dictionary-16",
            &["dictionary16 ("],
            array(Dtype::F64, &[1500], floats(random(1500, 300).map(root))),
        ),
        one("fields", &["columns (8 bytes: delta8 + "], array(record, &[200], rows.collect())),
        one("column-major", &["columns (8 bytes: "], array(Dtype::F64, &[300, 3], floats(table))),
        Golden {
            name: "copy",
            codecs: &["", "copy of array0"],
            arrays: vec![array(Dtype::F64, &[99], roots.clone()), array(Dtype::F64, &[9, 11], roots)],
        },
    ]
}

#[test]
fn archives_of_every_way_of_storing_arrays_stay_readable() {
    let goldens = goldens();
    assert_eq!(goldens.len(), std::fs::read_dir(folder()).unwrap().count());
    let back = tempfile::tempdir().unwrap();
    for golden in goldens {
        check(&golden, &folder().join(format!("{}.onecopy", golden.name)), back.path());
    }
}

/// Verifies and restores an archive, and compares it with what it was made of.
fn check(golden: &Golden, path: &Path, back: &Path) {
    let name = golden.name;
    let cold = Model::open(path).unwrap();
    cold.verify(VerifyOptions { digests: true }, &|_| {}).unwrap();
    assert_eq!(name, cold.metadata()["golden"]);
    for (array, codec) in cold.inspect().unwrap().arrays.iter().zip(golden.codecs) {
        assert!(array.codec.starts_with(codec), "{name}: {}", array.codec);
    }
    let hot = back.join(name);
    restore(path, &hot, &|_| {}).unwrap();
    let hot = Model::open(&hot).unwrap();
    assert_eq!(cold.digest(), hot.digest());
    assert_eq!(golden.arrays.len(), hot.arrays().count());
    for (array, (info, bytes)) in hot.arrays().zip(&golden.arrays) {
        assert_eq!((info, &bytes[..]), (array.info(), array.bytes().unwrap()), "{name}");
    }
}

/// Two versions: the second has more rows, and an array that stayed the same.
fn versions() -> [(&'static str, Golden); 2] {
    let rows = |count| floats(random(2 * count, 1 << 20).map(|x| (x as f64).sqrt().floor()));
    let version = |name, count| {
        let grown = (ArrayInfo::new(Dtype::F64, [count, 2]), rows(count));
        let same = (ArrayInfo::new(Dtype::U8, [20_000]), random(20_000, 3).map(|x| x as u8).collect());
        let small = (ArrayInfo::new(Dtype::U8, [5]), b"small".to_vec());
        (name, Golden { name, codecs: &["units", "units", ""], arrays: vec![grown, same, small] })
    };
    [version("first", 1_100), version("second", 1_300)]
}

fn versions_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/versions")
}

#[test]
fn archives_of_versions_stay_readable() {
    let folder = tempfile::tempdir().unwrap();
    for (name, golden) in versions() {
        check(&golden, &versions_folder().join(format!("{name}.onecopy")), folder.path());
    }
}

#[test]
#[ignore = "writes the archives that are not there yet: cargo test --test it -- --ignored write_golden_archives"]
fn write_golden_archives() {
    for golden in goldens() {
        let path = folder().join(format!("{}.onecopy", golden.name));
        if path.exists() {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let hot = write_hot(&golden, dir.path());
        archive(&hot, &path, &ArchiveOptions { level: Level::Best }, &|_| {}).unwrap();
    }
    for (name, golden) in versions() {
        let (dir, folder) = (tempfile::tempdir().unwrap(), versions_folder());
        let path = folder.join(format!("{name}.onecopy"));
        if !path.exists() {
            let hot = write_hot(&golden, dir.path());
            archive_version(&hot, &path, &folder, &ArchiveOptions { level: Level::Best }, &|_| {}).unwrap();
        }
    }
}

fn write_hot(golden: &Golden, dir: &Path) -> PathBuf {
    let hot = dir.join("hot");
    onecopy::publish(&hot, |file| {
        let mut writer = Writer::new(file, Codec::Raw)?;
        for (at, (info, bytes)) in golden.arrays.iter().enumerate() {
            writer.array(&format!("array{at}"), info, Role::Predict, &mut &bytes[..])?;
        }
        let metadata = serde_json::json!({ "golden": golden.name, "text": "packed ".repeat(20) }).to_string();
        writer.finish(&Parts { metadata: metadata.as_bytes(), ..Parts::default() }).map(drop)
    })
    .unwrap();
    hot
}
