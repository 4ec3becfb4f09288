//! Bytes of files: round trips, damage, determinism.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use onecopy::{
    AlignedBytes, ArchiveOptions, ArrayInfo, Codec, Dtype, Field, FormatError, Kind, Level, Model, Order,
    Parts, Plain, Record, RewriteError, RewriteReport, Role, Storage, TimeUnit, VerifyOptions, WriteError,
    Writer, archive, restore,
};
use proptest::collection::vec;
use proptest::prelude::*;

const SILENT: onecopy::OnProgress<'static> = &|_| {};
const DIGESTS: VerifyOptions = VerifyOptions { digests: true };
const COLD: Codec = Codec::Zstd { level: 3 };

#[derive(Clone, Debug)]
struct Saved {
    name: String,
    info: ArrayInfo,
    role: Role,
    bytes: Vec<u8>,
}

impl Saved {
    fn new(name: &str, dtype: Dtype, shape: &[u64]) -> Self {
        let info = ArrayInfo::new(dtype, shape);
        let len = info.len_bytes().unwrap();
        let bytes = (0..len).map(|i| (i * 31 % 251) as u8).collect();
        Saved { name: name.to_owned(), info, role: Role::Predict, bytes }
    }
}

fn write(codec: Codec, arrays: &[Saved], metadata: &str) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new()), codec).unwrap();
    for array in arrays {
        writer.array(&array.name, &array.info, array.role, &mut &array.bytes[..]).unwrap();
    }
    let parts = Parts { metadata: metadata.as_bytes(), ..Parts::default() };
    writer.finish(&parts).unwrap().0.into_inner()
}

/// The archive of a file.
fn archived(bytes: &[u8], level: Level) -> Vec<u8> {
    rewritten(bytes, |from, to| archive(from, to, &ArchiveOptions { level }, SILENT))
}

/// What an archive was made of.
fn restored(bytes: &[u8]) -> Vec<u8> {
    rewritten(bytes, |from, to| restore(from, to, SILENT))
}

fn rewritten(
    bytes: &[u8],
    rewrite: impl FnOnce(&Path, &Path) -> Result<RewriteReport, RewriteError>,
) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
    onecopy::publish(&from, |file| std::io::Write::write_all(file, bytes)).unwrap();
    rewrite(&from, &to).unwrap();
    std::fs::read(&to).unwrap()
}

fn record(fields: &[(&str, Dtype, &[u32], u32)], itemsize: u32) -> Dtype {
    let fields = fields.iter().map(|(name, dtype, shape, offset)| {
        let Dtype::Plain(dtype) = dtype else { panic!("records do not nest") };
        Field { name: (*name).to_owned(), dtype: *dtype, shape: shape.to_vec(), offset: *offset }
    });
    Dtype::Record(Arc::new(Record { fields: fields.collect(), itemsize, aligned: false }))
}

/// One of everything, in few bytes.
fn small() -> Vec<Saved> {
    let node = record(
        &[("left", Dtype::I64, &[], 0), ("xy", Dtype::F32, &[2], 12), ("flag", Dtype::U8, &[], 20)],
        24,
    );
    let mut column_major = Saved::new("tree/0/value", Dtype::F64, &[3, 2]);
    column_major.info.order = Order::F;
    column_major.role = Role::Rebuild;
    vec![
        Saved::new("scalar", Dtype::F64, &[]),
        Saved::new("empty", Dtype::I32, &[0, 7]),
        Saved::new("b", Dtype::BOOL, &[5]),
        Saved::new("größe", Dtype::Plain(Plain::new(Kind::Str, 20)), &[3]),
        Saved::new("nodes", node, &[4]),
        column_major,
        Saved::new(
            "when",
            Dtype::Plain(Plain::new(Kind::DateTime(TimeUnit { base: 9, count: 25 }), 8)),
            &[2],
        ),
    ]
}

fn is_found(file: &[u8]) -> bool {
    match Model::from_bytes(file) {
        Err(_) => true,
        Ok(model) => model.verify(VerifyOptions::default(), SILENT).is_err(),
    }
}

#[test]
fn every_flipped_bit_of_a_small_file_is_found() {
    for codec in [Codec::Raw, COLD] {
        let mut arrays = small();
        arrays.push(Saved::new("repeated", Dtype::U8, &[600]));
        let mut file = write(codec, &arrays, r#"{"auc": 0.91}"#);
        assert!(!is_found(&file));
        for at in 0..file.len() {
            for bit in 0..8 {
                file[at] ^= 1 << bit;
                assert!(is_found(&file), "{codec:?}: bit {bit} of byte {at} was flipped unnoticed");
                file[at] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_an_archive_is_found() {
    let mut arrays = small();
    arrays.push(Saved::new("repeated", Dtype::U8, &[600]));
    arrays.push(Saved { name: "again".to_owned(), ..Saved::new("repeated", Dtype::U8, &[600]) });
    let mut file =
        archived(&write(Codec::Raw, &arrays, &format!(r#"{{"text": "{}"}}"#, "ab".repeat(99))), Level::Best);
    assert!(!is_found(&file));
    for at in 0..file.len() {
        for bit in 0..8 {
            file[at] ^= 1 << bit;
            assert!(is_found(&file), "bit {bit} of byte {at} was flipped unnoticed");
            file[at] ^= 1 << bit;
        }
    }
    for len in 0..file.len() {
        assert!(Model::from_bytes(&file[..len]).is_err(), "{len} of {} bytes", file.len());
    }
}

#[test]
fn the_same_bytes_are_archived_once() {
    let array = Saved::new("first", Dtype::F64, &[3000]);
    let other =
        Saved { name: "second".to_owned(), info: ArrayInfo::new(Dtype::I64, [30, 100]), ..array.clone() };
    let hot = write(Codec::Raw, &[array, other], "");
    let cold = archived(&hot, Level::Default);
    let model = Model::from_bytes(&cold[..]).unwrap();
    let storage: Vec<_> = model.arrays().map(|array| (array.storage(), array.stored_len() > 0)).collect();
    assert_eq!(vec![(Storage::Filtered, true), (Storage::Copy, false)], storage);
    let found = model.inspect().unwrap();
    assert_eq!("copy of first", found.arrays[1].codec);
    assert_eq!(None, found.arrays[1].ratio);
    assert_eq!(hot, restored(&cold));
}

#[test]
fn an_archive_says_what_was_done_to_each_array_and_why() {
    let numbers: Vec<f64> = (0..40_000).map(|i| ((unordered(i) % 97) as f64).sqrt()).collect();
    let offset = |sum: &mut u64, i| {
        *sum += unordered(i) % 90;
        Some(*sum)
    };
    let offsets: Vec<u8> = (0..40_000u64).scan(0, offset).flat_map(u64::to_le_bytes).collect();
    let noise: Vec<u8> = (0..40_000).map(|i| unordered(i) as u8).collect();
    let rows = record(&[("id", Dtype::I64, &[], 0), ("half", Dtype::F32, &[], 8)], 13);
    let records: Vec<u8> =
        (0..9000u64).flat_map(|i| [&i.to_le_bytes()[..], &[0, 0, i as u8, 65], &[7]].concat()).collect();
    let array = |name: &str, dtype, len, bytes| Saved {
        name: name.to_owned(),
        info: ArrayInfo::new(dtype, [len]),
        role: Role::Predict,
        bytes,
    };
    let arrays = [
        array("values", Dtype::F64, 40_000, bytemuck::cast_slice(&numbers).to_vec()),
        array("offsets", Dtype::I64, 40_000, offsets),
        array("noise", Dtype::U8, 40_000, noise),
        array("rows", rows, 9000, records),
    ];
    let hot = write(Codec::Raw, &arrays, "");
    let cold = archived(&hot, Level::Default);
    let found = Model::from_bytes(&cold[..]).unwrap().inspect().unwrap();
    let codec = |at: usize| found.arrays[at].codec.as_str();
    assert!(codec(0).starts_with("dictionary8 (97 values) + "), "{}", codec(0));
    assert!(codec(1).starts_with("delta8 + "), "{}", codec(1));
    assert_eq!("as it is", codec(2));
    assert!(codec(3).starts_with("columns (8 bytes: delta8 + "), "{}", codec(3));
    let why = found.arrays[0].why.as_deref().unwrap();
    assert!(why.starts_with("on 320000 bytes: dictionary ") && why.contains("; "), "{why}");
    assert!(found.arrays[1].ratio.unwrap() > 7.0);
    assert_eq!(hot, restored(&cold));
}

/// Numbers without a pattern.
fn unordered(seed: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

#[test]
fn every_flipped_byte_of_a_file_with_page_aligned_arrays_is_found() {
    let arrays = [Saved::new("small", Dtype::U8, &[100]), Saved::new("big", Dtype::U8, &[70_000])];
    for codec in [Codec::Raw, COLD] {
        let mut file = write(codec, &arrays, "");
        for at in 0..file.len() {
            file[at] ^= 0x41;
            assert!(is_found(&file), "{codec:?}: byte {at} was changed unnoticed");
            file[at] ^= 0x41;
        }
    }
}

#[test]
fn a_file_cut_at_any_length_is_refused_when_it_is_opened() {
    for codec in [Codec::Raw, COLD] {
        let file = write(codec, &small(), "{}");
        for len in 0..file.len() {
            assert!(Model::from_bytes(&file[..len]).is_err(), "{len} of {} bytes", file.len());
        }
        let cut = Model::from_bytes(&file[..file.len() - 1]).unwrap_err();
        let (expected, found) = (file.len() as u64, file.len() as u64 - 1);
        assert_eq!(FormatError::Length { expected, found }, cut);
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut file = write(Codec::Raw, &small(), "{}");
    file.push(0);
    assert!(matches!(Model::from_bytes(&file), Err(FormatError::Length { .. })));
}

/// The file with another number in its prologue, which has the checksum for it.
fn with_word(file: &[u8], at: usize, word: u32) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + 4].copy_from_slice(&word.to_le_bytes());
    let crc = crc32fast::hash(&file[..124]);
    file[124..128].copy_from_slice(&crc.to_le_bytes());
    file
}

#[test]
fn files_of_later_versions_are_read_unless_they_forbid_it() {
    let file = write(Codec::Raw, &small(), "{}");
    let later_minor = 9 << 16 | 1;
    let [minor, compatible, rewrite, reserved] = [10, 20, 24, 120];
    let later = with_word(&file, minor - 2, later_minor);
    for (at, word) in [(compatible, 0x8000_0001), (rewrite, 0x80), (reserved, 7)] {
        let file = with_word(&later, at, word);
        assert!(!is_found(&file), "the word at byte {at}");
    }
    assert_eq!(restored(&archived(&file, Level::Best)), file);
    let from = with_word(&later, rewrite, 0x80);
    let folder = tempfile::tempdir().unwrap();
    let [path, to] = ["from", "to"].map(|name| folder.path().join(name));
    onecopy::publish(&path, |out| std::io::Write::write_all(out, &from)).unwrap();
    let error = archive(&path, &to, &ArchiveOptions::default(), SILENT).unwrap_err();
    let text = format!(
        "{error}: {}",
        std::error::Error::source(&error).map_or_else(String::new, ToString::to_string)
    );
    assert!(text.contains("rewrite-incompatible features 0x80"), "{text}");
    assert!(text.contains("1.9") && !to.exists(), "{text}");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let big = Saved::new("big", Dtype::F64, &[700_000]);
    for codec in [Codec::Raw, COLD] {
        let arrays = [small(), vec![big.clone()]].concat();
        assert_eq!(write(codec, &arrays, "{}"), write(codec, &arrays, "{}"));
    }
}

#[test]
fn hot_and_cold_forms_have_one_digest() {
    let digest = |codec| Model::from_bytes(write(codec, &small(), "{}")).unwrap().digest();
    assert_eq!(digest(Codec::Raw), digest(COLD));
    let renamed = [vec![Saved::new("other", Dtype::U8, &[1])], small()].concat();
    assert_ne!(digest(Codec::Raw), Model::from_bytes(write(Codec::Raw, &renamed, "{}")).unwrap().digest());
}

#[test]
fn damage_is_reported_with_array_block_and_place() {
    let array = Saved::new("leaves", Dtype::U8, &[3 << 20]);
    let mut file = write(Codec::Raw, &[array], "");
    let at = (64 << 10) + (1 << 20) + 5;
    file[at] ^= 1;
    file[at + (1 << 20)] ^= 1;
    let error = Model::from_bytes(&file).unwrap().verify(VerifyOptions::default(), SILENT).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("array `leaves` is damaged: block 1 of 3 (bytes 1114112..2162688 of the file)"),
        "{text}"
    );
    assert!(text.ends_with("(1 more blocks are damaged)"), "{text}");
}

#[test]
fn arrays_lie_at_64_bytes_or_64_kib() {
    let sizes = [1u64, 65_535, 65_536, 200_000, 3];
    let arrays: Vec<_> = sizes.iter().map(|&n| Saved::new(&n.to_string(), Dtype::U8, &[n])).collect();
    let model = Model::from_bytes(write(Codec::Raw, &arrays, "")).unwrap();
    let offsets: Vec<_> = model.arrays().map(|array| array.offset()).collect();
    assert_eq!([128, 192, 131_072, 196_608, 396_608], offsets[..]);
}

#[test]
fn the_writer_refuses_what_a_reader_would() {
    let mut writer = Writer::new(Cursor::new(Vec::new()), Codec::Raw).unwrap();
    let mut add = |name: &str, info: &ArrayInfo, mut bytes: &[u8]| {
        writer.array(name, info, Role::Predict, &mut bytes).map(drop)
    };
    let byte = ArrayInfo::new(Dtype::U8, [1]);
    add("a", &byte, &[1]).unwrap();
    assert!(matches!(add("a", &byte, &[1]), Err(WriteError::DuplicateName(_))));
    assert!(matches!(add("", &byte, &[1]), Err(WriteError::NameLength { len: 0 })));
    assert!(matches!(add("b", &byte, &[1, 2]), Err(WriteError::TooMuchInput { expected: 1, .. })));
    assert!(matches!(add("c", &byte, &[]), Err(WriteError::Input { offset: 0, .. })));
    let huge = ArrayInfo::new(Dtype::U8, [1 << 40, 1 << 40]);
    assert!(matches!(add("d", &huge, &[]), Err(WriteError::TooLarge { .. })));
    let overlapping = record(&[("x", Dtype::I64, &[], 0), ("y", Dtype::I64, &[], 4)], 16);
    assert!(matches!(add("e", &ArrayInfo::new(overlapping, [0]), &[]), Err(WriteError::Dtype { .. })));
}

fn plain() -> impl Strategy<Value = Plain> {
    let unit = (0u8..13, 1u32..1000).prop_map(|(base, count)| TimeUnit { base, count });
    let sized = |kind: Kind, sizes: &'static [u32]| {
        proptest::sample::select(sizes).prop_map(move |itemsize| Plain::new(kind, itemsize))
    };
    let little = prop_oneof![
        Just(Plain::new(Kind::Bool, 1)),
        sized(Kind::Int, &[1, 2, 4, 8]),
        sized(Kind::Uint, &[1, 2, 4, 8]),
        sized(Kind::Float, &[2, 4, 8]),
        sized(Kind::Complex, &[8, 16]),
        (0u32..40).prop_map(|n| Plain::new(Kind::Bytes, n)),
        (0u32..40).prop_map(|n| Plain::new(Kind::Void, n)),
        (0u32..10).prop_map(|n| Plain::new(Kind::Str, 4 * n)),
        unit.clone().prop_map(|unit| Plain::new(Kind::DateTime(unit), 8)),
        unit.prop_map(|unit| Plain::new(Kind::TimeDelta(unit), 8)),
    ];
    (little, any::<bool>()).prop_map(|(plain, big)| {
        let big_endian = big && Dtype::Plain(plain).to_string().starts_with('<');
        Plain { big_endian, ..plain }
    })
}

fn dtype() -> impl Strategy<Value = Dtype> {
    let field = (".{1,8}", plain(), vec(0u32..4, 0..3), 0u32..5);
    let record = (vec(field, 0..6), 0u32..5, any::<bool>()).prop_map(|(parts, tail, aligned)| {
        let (mut fields, mut end) = (Vec::<Field>::new(), 0);
        for (name, dtype, shape, hole) in parts {
            let field = Field { name, dtype, shape, offset: end + hole };
            if fields.iter().all(|other| other.name != field.name) {
                end = field.offset + field.len_bytes().unwrap();
                fields.push(field);
            }
        }
        Dtype::Record(Arc::new(Record { fields, itemsize: end + tail, aligned }))
    });
    prop_oneof![3 => plain().prop_map(Dtype::Plain), 1 => record]
}

fn saved() -> impl Strategy<Value = Saved> {
    let shape = prop_oneof![vec(0u64..6, 0..5), vec(100u64..400, 1..3)];
    (".{1,30}", dtype(), shape, any::<[bool; 2]>(), any::<u64>()).prop_map(
        |(name, dtype, shape, flags, seed)| {
            let order = if flags[0] { Order::F } else { Order::C };
            let role = if flags[1] { Role::Rebuild } else { Role::Predict };
            let info = ArrayInfo { dtype, shape, order };
            let len = info.len_bytes().unwrap() as usize;
            let mut state = seed | 1;
            let bytes = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 60) as u8
            });
            Saved { name, info, role, bytes: bytes.take(len).collect() }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(mut arrays in vec(saved(), 0..8), text in ".{0,40}") {
        arrays.sort_by(|a, b| a.name.cmp(&b.name));
        arrays.dedup_by(|a, b| a.name == b.name);
        arrays.reverse();
        let metadata = serde_json::json!({ "text": text });
        let hot = write(Codec::Raw, &arrays, &metadata.to_string());
        let model = Model::from_bytes(AlignedBytes::copy_from(&hot)).unwrap();
        prop_assert_eq!(&metadata, model.metadata());
        prop_assert_eq!(arrays.len(), model.arrays().count());
        for (saved, array) in arrays.iter().zip(model.arrays()) {
            prop_assert_eq!(&saved.info, array.info());
            prop_assert_eq!(saved.role, array.role());
            prop_assert_eq!(&saved.bytes[..], array.bytes().unwrap());
            prop_assert_eq!(array.id(), model.array(&saved.name).unwrap().id());
        }
        model.verify(DIGESTS, SILENT).unwrap();
        let cold = write(COLD, &arrays, &metadata.to_string());
        Model::from_bytes(cold).unwrap().verify(DIGESTS, SILENT).unwrap();
    }

    #[test]
    fn restoring_an_archive_gives_every_byte_back(mut arrays in vec(saved(), 0..6), level in 0usize..3) {
        arrays.sort_by(|a, b| a.name.cmp(&b.name));
        arrays.dedup_by(|a, b| a.name == b.name);
        let bytes = write(Codec::Raw, &arrays, "{}");
        let cold = archived(&bytes, Level::ALL[level]);
        Model::from_bytes(&cold[..]).unwrap().verify(DIGESTS, SILENT).unwrap();
        prop_assert_eq!(&cold, &archived(&bytes, Level::ALL[level]));
        prop_assert_eq!(&bytes, &restored(&cold));
        prop_assert_eq!(&bytes, &restored(&write(COLD, &arrays, "{}")));
        prop_assert_eq!(&cold, &archived(&write(COLD, &arrays, "{}"), Level::ALL[level]));
    }

    #[test]
    fn dtypes_are_read_back_from_their_text(dtype in dtype()) {
        prop_assert_eq!(Ok(dtype.clone()), Dtype::parse(&dtype.to_string()));
    }

    #[test]
    fn reading_any_text_as_a_dtype_does_not_panic(text in r#"[\[\]{}(),:'"<>|a-zA-Z0-9\\ é]{0,40}"#) {
        let _ = Dtype::parse(&text);
    }
}
