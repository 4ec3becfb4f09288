//! What is done with bytes that may be a pickle. The fuzzer calls it, and a plain test replays what it found.

use onecopy::{ForeignData, Graph, Limits, read_foreign};

/// Reads `data` within small limits; whatever is read must be whole.
pub(crate) fn read_all(data: &[u8]) {
    let limits = Limits {
        opcodes: 1 << 20,
        depth: 1_000,
        memo_entries: 1 << 20,
        held_bytes: 64 << 20,
        decoded_bytes: 16 << 20,
    };
    let read = read_foreign(Box::new(data.to_vec()), &limits, &mut tempfile::tempfile, &|_| {});
    let Ok(foreign) = read else { return };
    for array in &foreign.arrays {
        let len = match &array.data {
            ForeignData::Source(range) => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                foreign.source.read_exact_at(range.start, &mut bytes).expect("an array's bytes exist");
                bytes.len()
            }
            ForeignData::Owned(bytes) => bytes.len(),
            ForeignData::Beside(_) => unreachable!("nothing was passed beside the file"),
        };
        assert_eq!(Some(len as u64), array.info.len_bytes(), "{:?}", array.info);
    }
    Graph::decode(&foreign.graph.encode(), &foreign).expect("a graph that was read makes sense");
}
