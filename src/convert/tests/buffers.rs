//! Pickles with their buffers beside them, as `buffer_callback` makes them.

use proptest::prelude::*;

use super::{node, root};
use crate::convert::source::ReadAt;
use crate::convert::{ConvertError, Foreign, Limits, read_foreign, read_with_buffers};
use crate::format::dtype::Dtype;
use crate::format::{ArrayInfo, Order};
use crate::model::array::ArraySource;
use crate::model::graph::{Blob, Graph, Node, NodeId};
use crate::model::terms::TermsBuilder;

const NEXT: u8 = 0x97;
const READONLY: u8 = 0x98;

fn read(stream: &[u8], buffers: &[&[u8]]) -> Result<Foreign, ConvertError> {
    let boxed = |bytes: &&[u8]| Box::new(bytes.to_vec()) as Box<dyn ReadAt>;
    let limits = Limits::for_source(1 << 20);
    let buffers = buffers.iter().map(boxed).collect();
    read_with_buffers(
        Box::new(stream.to_vec()),
        buffers,
        Vec::new(),
        &limits,
        &mut tempfile::tempfile,
        &|_| {},
    )
}

fn text(error: Result<Foreign, ConvertError>) -> String {
    error.err().map(|error| error.to_string()).unwrap_or_default()
}

/// `_frombuffer(<next buffer>, dtype('<f8'), shape, order...)` without the STOP.
fn from_buffer(shape: &[u8], order: &[u8]) -> Vec<u8> {
    let mut stream = b"\x80\x05\x8c\x13numpy._core.numeric\x8c\x0b_frombuffer\x93(\x97".to_vec();
    stream.extend(b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02f8\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb");
    stream.extend([shape, order, b"tR"].concat());
    stream
}

fn bytes(foreign: &Foreign, id: NodeId) -> (ArrayInfo, Vec<u8>) {
    let Node::Array(part) = node(foreign, id) else { panic!("{:?}", node(foreign, id)) };
    let info = foreign.info(part.array);
    let mut bytes = vec![0; info.len_bytes().unwrap() as usize];
    foreign.read_at(part.array, 0, &mut bytes).unwrap();
    (info, bytes)
}

#[test]
fn an_array_is_read_from_its_buffer_whether_short_or_long() {
    for len in [0, 1, 511, 512, 100_000u32] {
        let buffer: Vec<u8> = (0..len * 8).map(|i| (i % 251) as u8).collect();
        let shape = [&b"J"[..], &len.to_le_bytes(), b"\x85"].concat();
        let mut stream = from_buffer(&shape, b"\x8c\x01C");
        stream.push(b'.');
        let foreign = read(&stream, &[&buffer]).unwrap();
        let (info, found) = bytes(&foreign, foreign.graph.root);
        assert_eq!(info, ArrayInfo::new(Dtype::F64, [u64::from(len)]));
        assert_eq!(found, buffer);
        assert_eq!("pickle protocol 5", foreign.container);
    }
}

#[test]
fn the_order_of_axes_in_memory_is_kept() {
    let buffer: Vec<u8> = (0..48).collect();
    let mut stream = from_buffer(b"K\x02K\x01K\x03\x87", b"\x8c\x01KK\x01K\x02K\0\x87");
    stream.push(b'.');
    let foreign = read(&stream, &[&buffer]).unwrap();
    let Node::Object(object) = root(&foreign) else { panic!("{:?}", root(&foreign)) };
    let name = Node::Name { module: "numpy".into(), qualname: "transpose".into() };
    assert_eq!(&name, node(&foreign, object.callable));
    let Node::Tuple(args) = node(&foreign, object.args) else { panic!() };
    let (info, found) = bytes(&foreign, args[0]);
    assert_eq!((info.shape, info.order, found), (vec![2, 1, 3], Order::C, buffer));
    let Node::Tuple(axes) = node(&foreign, args[1]) else { panic!() };
    let axes: Vec<&Node> = axes.iter().map(|axis| node(&foreign, *axis)).collect();
    assert_eq!(axes, [&Node::Int(1), &Node::Int(2), &Node::Int(0)]);
}

#[test]
fn axes_that_are_no_permutation_leave_the_call_as_it_is() {
    let buffer = [0; 48];
    for axes in [&b"K\x01K\x01K\0\x87"[..], b"K\0K\x01\x86", b"K\x03K\x01K\0\x87", b"N", b"K\0"] {
        let mut stream = from_buffer(b"K\x02K\x01K\x03\x87", &[b"\x8c\x01K", axes].concat());
        stream.push(b'.');
        let foreign = read(&stream, &[&buffer]).unwrap();
        let Node::Object(object) = root(&foreign) else { panic!("{:?}", root(&foreign)) };
        let Node::Name { qualname, .. } = node(&foreign, object.callable) else { panic!() };
        assert_eq!("_frombuffer", &**qualname);
    }
}

#[test]
fn a_buffer_alone_is_a_bytearray_and_a_read_only_one_bytes() {
    let inline = |bytes: &[u8]| Blob::Inline(bytes.into());
    assert_eq!(&Node::ByteArray(inline(b"ab")), root(&read(&[0x80, 5, NEXT, b'.'], &[b"ab"]).unwrap()));
    let stream = [0x80, 5, NEXT, READONLY, b'.'];
    assert_eq!(&Node::Bytes(inline(b"ab")), root(&read(&stream, &[b"ab"]).unwrap()));
    let long = vec![7; 5000];
    let foreign = read(&stream, &[&long]).unwrap();
    let Node::Bytes(Blob::Array(id)) = root(&foreign) else { panic!() };
    let mut found = vec![0; 5000];
    foreign.read_at(*id, 0, &mut found).unwrap();
    assert_eq!(found, long);
}

#[test]
fn a_shared_array_stays_one() {
    let mut stream = b"\x80\x05(".to_vec();
    stream.extend(&from_buffer(b"K\x01\x85", b"\x8c\x01C")[2..]);
    stream.extend(b"\x94h\0t.");
    let foreign = read(&stream, &[&[1; 8]]).unwrap();
    let Node::Tuple(items) = root(&foreign) else { panic!() };
    assert_eq!(items[0], items[1]);
    assert_eq!(1, foreign.arrays.len());
}

#[test]
fn buffers_are_used_in_their_order_and_all_of_them() {
    let stream = [0x80, 5, NEXT, NEXT, 0x86, b'.'];
    let foreign = read(&stream, &[b"a", b"b"]).unwrap();
    let Node::Tuple(items) = root(&foreign) else { panic!() };
    assert_eq!(&Node::ByteArray(Blob::Inline(b"a".as_slice().into())), node(&foreign, items[0]));
    assert_eq!(
        "pickle opcode NEXT_BUFFER at byte 3: asks for one buffer more than the 1 that were given; the pickle was made with others",
        text(read(&stream, &[b"a"]))
    );
    assert_eq!(
        "the pickle uses 2 buffers, but 4 were given; it was made with others",
        text(read(&stream, &[b"a", b"b", b"c", b"d"]))
    );
}

#[test]
fn buffers_of_another_length_are_no_array() {
    for len in [7, 9, 16] {
        let mut stream = from_buffer(b"K\x01\x85", b"\x8c\x01C");
        stream.push(b'.');
        let foreign = read(&stream, &[&vec![0; len]]).unwrap();
        assert!(matches!(root(&foreign), Node::Object(_)), "{len}");
    }
}

#[test]
fn a_buffer_made_read_only_must_be_one() {
    let found = text(read(&[0x80, 5, b'N', READONLY, b'.'], &[]));
    assert_eq!("pickle opcode READONLY_BUFFER at byte 3: expected a buffer, found None", found);
    assert!(text(read(&[0x80, 5, READONLY, b'.'], &[])).contains("the stack is empty"));
}

#[test]
fn opcodes_do_not_run_on_into_the_buffers() {
    assert!(text(read(&[0x80, 5, NEXT], &[b"N."])).contains("cut short"));
    assert!(text(read(&[0x80, 5, 0x8c, 3, b'a'], &[b"bc."])).contains("cut short"));
}

#[test]
fn files_have_no_buffers() {
    for stream in [[0x80, 5, NEXT, b'.'], [0x80, 5, READONLY, b'.']] {
        let limits = Limits::for_source(4);
        let error = text(read_foreign(Box::new(stream.to_vec()), &limits, &mut tempfile::tempfile, &|_| {}));
        assert!(
            error.contains("it refers to a buffer passed beside the pickle, but none was given"),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn any_opcodes_over_any_buffers_never_panic(
        opcodes in proptest::collection::vec(
            prop_oneof![
                Just(NEXT), Just(READONLY), Just(0x94), Just(b'R'), Just(b't'), Just(b'('), Just(0x86), Just(b'b'), Just(b'0'),
            ],
            0..40,
        ),
        lens in proptest::collection::vec(prop_oneof![0usize..20, 4090usize..5000], 0..6),
    ) {
        let mut stream = from_buffer(b"K\x01\x85", b"\x8c\x01C");
        stream.extend(opcodes);
        stream.push(b'.');
        let buffers: Vec<Vec<u8>> = lens.into_iter().map(|len| vec![1; len]).collect();
        let buffers: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
        if let Ok(foreign) = read(&stream, &buffers) {
            let graph = Graph::decode(&foreign.graph.encode(), &foreign);
            prop_assert!(graph.is_ok(), "{:?}", graph);
        }
    }
}

fn read_with_terms(stream: &[u8], count: usize) -> Result<Foreign, ConvertError> {
    let terms = |first: usize| {
        let mut builder = TermsBuilder::with_capacity(1024);
        (first..first + 1024).for_each(|i| builder.push(&format!("term {i}"), i as i64).unwrap());
        builder.finish(false).unwrap()
    };
    let (stream, terms) = (Box::new(stream.to_vec()), (0..count).map(terms).collect());
    let limits = Limits::for_source(1 << 20);
    read_with_buffers(stream, Vec::new(), terms, &limits, &mut tempfile::tempfile, &|_| {})
}

/// `Terms(number)` without the STOP; `number` are opcodes.
fn stand_in(number: &[u8]) -> Vec<u8> {
    [b"\x8c\x10onecopy._onecopy\x8c\x05Terms\x93", number, b"\x85R"].concat()
}

#[test]
fn a_stand_in_is_the_dict_of_its_number() {
    let stream = [b"\x80\x05", &stand_in(b"K\x01")[..], b"\x94h\0", &stand_in(b"K\0"), b"\x87."].concat();
    let foreign = read_with_terms(&stream, 2).unwrap();
    foreign.graph.check(&foreign).unwrap();
    let Node::Tuple(items) = node(&foreign, foreign.graph.root) else { panic!() };
    let [Node::Terms(second), Node::Terms(same), Node::Terms(first)] =
        [0, 1, 2].map(|i| node(&foreign, items[i]))
    else {
        panic!()
    };
    assert_eq!((items[0], second), (items[1], same));
    let mut value = [0; 8];
    for (terms, expected) in [(first, 0), (second, 1)] {
        foreign.read_at(terms.values, 0, &mut value).unwrap();
        assert_eq!(expected, i64::from_le_bytes(value));
    }
}

#[test]
fn a_stand_in_of_no_dict_is_an_error() {
    for number in [&b"K\x01"[..], b"J\xff\xff\xff\xff", b"N", b"\x8c\x010", b")", b"K\0\x85"] {
        let stream = [b"\x80\x05", &stand_in(number)[..], b"."].concat();
        assert!(text(read_with_terms(&stream, 1)).contains("dict passed beside"), "{number:?}");
    }
    let twice = [b"\x80\x05", &stand_in(b"K\0")[..], &stand_in(b"K\0"), b"\x86."].concat();
    assert!(text(read_with_terms(&twice, 1)).contains("dict passed beside"));
    let key = [b"\x80\x05}", &stand_in(b"K\0")[..], b"Ns."].concat();
    assert!(text(read_with_terms(&key, 1)).contains("dict"));
}

#[test]
fn a_stand_in_in_a_file_is_a_name_as_any_other() {
    let stream = [b"\x80\x05", &stand_in(b"K\0")[..], b"."].concat();
    let limits = Limits::for_source(1 << 20);
    let foreign = read_foreign(Box::new(stream), &limits, &mut tempfile::tempfile, &|_| {}).unwrap();
    assert!(matches!(node(&foreign, foreign.graph.root), Node::Object(_)));
}
