use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proptest::prelude::*;

use super::restore::{read_quotients, read_records};
use super::*;
use crate::format::dtype::{Dtype, Field, Kind, Plain, Record};
use crate::format::{ArrayInfo, Order, Role};
use crate::model::array::tests::Memory;
use crate::model::graph::{ArrayPart, Blob, Make, Node, NodeId, Object};
use crate::model::plan::Plan;

/// The node of a scikit-learn tree: 57 bytes of fields in 64.
fn node_dtype() -> Dtype {
    let field = |(index, (name, kind)): (usize, (&str, Kind))| Field {
        name: name.into(),
        dtype: Plain::new(kind, if kind == Kind::Uint { 1 } else { 8 }),
        shape: vec![],
        offset: index as u32 * 8,
    };
    let fields = [
        ("left_child", Kind::Int),
        ("right_child", Kind::Int),
        ("feature", Kind::Int),
        ("threshold", Kind::Float),
        ("impurity", Kind::Float),
        ("n_node_samples", Kind::Int),
        ("weighted_n_node_samples", Kind::Float),
        ("missing_go_to_left", Kind::Uint),
    ];
    let fields = fields.into_iter().enumerate().map(field).collect();
    Dtype::Record(Arc::new(Record { fields, itemsize: 64, aligned: true }))
}

/// Node `row` of tree `tree`, with garbage in its padding.
fn node(tree: u64, row: u64) -> Vec<u8> {
    let weight = 3.0 + row as f64;
    let mut bytes = Vec::new();
    for word in [row + 1, u64::MAX, tree % 3] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend((0.1 * row as f64).to_le_bytes());
    bytes.extend((-0.0f64).to_le_bytes());
    bytes.extend((row * 300).to_le_bytes());
    bytes.extend(weight.to_le_bytes());
    bytes.extend([row as u8 % 2, 9, 9, 9, 9, 9, 9, 9]);
    bytes
}

/// The same without the garbage.
fn clean(mut node: Vec<u8>) -> Vec<u8> {
    node[57..].fill(0);
    node
}

fn values(row: u64, kind: u8) -> Vec<u8> {
    let weight = 3.0 + row as f64;
    let pair = match kind {
        0 => [1.0 / weight, (weight - 1.0) / weight],
        1 => [2.0, 70_000.0],
        _ => [0.5, -1.5],
    };
    pair.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A list of trees of 1, 2, 3.. nodes, as a dict of `nodes` and `values` each.
fn forest(trees: u64, kind: u8) -> (Graph, Memory) {
    let mut nodes = vec![Node::Str("nodes".into()), Node::Str("values".into())];
    let mut arrays = Vec::new();
    let mut items = Vec::new();
    for tree in 0..trees {
        let rows = tree + 1;
        let own: Vec<u8> = (0..rows).flat_map(|row| node(tree, row)).collect();
        arrays.push((ArrayInfo::new(node_dtype(), [rows]), own));
        let own: Vec<u8> = (0..rows).flat_map(|row| values(row, kind)).collect();
        arrays.push((ArrayInfo::new(Dtype::F64, [rows, 1, 2]), own));
        let next = nodes.len() as u32;
        let array = |id: u64, shape: &[u64]| {
            Node::Array(ArrayPart { array: ArrayId(id as u32), first_row: 0, shape: shape.into() })
        };
        nodes.push(array(2 * tree, &[rows]));
        nodes.push(array(2 * tree + 1, &[rows, 1, 2]));
        let pairs = [(0, next), (1, next + 1)].map(|(key, value)| (NodeId(key), NodeId(value)));
        nodes.push(Node::Dict(pairs.into()));
        items.push(NodeId(next + 2));
    }
    nodes.push(Node::List(items));
    let root = NodeId(nodes.len() as u32 - 1);
    (Graph { nodes, root }, Memory::new(arrays))
}

fn packed(graph: Graph, arrays: &Memory) -> (Graph, Memory) {
    let mut sink = Memory::default();
    let walk = walk(&graph, arrays);
    let graph = pack(graph, &walk, arrays, &HashMap::new(), &mut Plan::uncovered("", ""), &mut sink).unwrap();
    graph.check(&sink).unwrap();
    assert_eq!(Graph::decode(&graph.encode(), &sink).unwrap(), graph);
    (graph, sink)
}

/// The records and values of each tree, as they come back.
fn restored(graph: &Graph, arrays: &Memory) -> Vec<(Vec<u8>, Vec<u8>)> {
    let bytes = |id: NodeId| match graph.node(id) {
        Node::Records(records) => read_records(records, arrays).unwrap(),
        Node::Quotients(quotients) => read_quotients(quotients, arrays).unwrap(),
        _ => graph.plain_array_at(id, arrays, u64::MAX).unwrap().unwrap().bytes,
    };
    let tree = |id: &NodeId| {
        let item = |key| graph.dict_item(*id, key).unwrap();
        (bytes(item("nodes")), bytes(item("values")))
    };
    graph.items(graph.root).unwrap().iter().map(tree).collect()
}

fn expected(trees: u64, kind: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let tree = |tree| {
        let nodes = (0..=tree).flat_map(|row| clean(node(tree, row))).collect();
        (nodes, (0..=tree).flat_map(|row| values(row, kind)).collect())
    };
    (0..trees).map(tree).collect()
}

#[test]
fn a_forest_comes_back_bit_for_bit_from_as_many_arrays_as_a_tree_has_fields() {
    for kind in 0..3 {
        for trees in [1, 7, 8, 300] {
            let (graph, arrays) = forest(trees, kind);
            let (graph, arrays) = packed(graph, &arrays);
            assert_eq!(restored(&graph, &arrays), expected(trees, kind), "{trees} trees, values {kind}");
            assert_eq!(arrays.arrays.len() as u64, if trees < 8 { 9 * trees } else { 9 });
        }
    }
}

#[test]
fn columns_have_the_narrowest_types_and_speaking_names() {
    let (graph, arrays) = forest(300, 0);
    let (_, arrays) = packed(graph, &arrays);
    let found = |name: &str| {
        let index = arrays.names.iter().position(|known| known == name);
        index.map(|index| arrays.arrays[index].0.dtype.to_string()).unwrap_or_default()
    };
    let all = [
        ("*.nodes.left_child", "<u2"),
        ("*.nodes.right_child", "|i1"),
        ("*.nodes.feature", "|u1"),
        ("*.nodes.threshold", "<f8"),
        ("*.nodes.impurity", "<f8"),
        ("*.nodes.n_node_samples", "<u4"),
        ("*.nodes.weighted_n_node_samples", "<u2"),
        ("*.nodes.missing_go_to_left", "|u1"),
        ("*.values", "<u2"),
    ];
    for (name, dtype) in all {
        assert_eq!(found(name), dtype, "{name} among {:?}", arrays.names);
    }
    assert!(arrays.roles.iter().all(|role| *role == Role::Rebuild));
}

#[test]
fn the_same_graph_gives_the_same_file() {
    let (graph, arrays) = forest(50, 0);
    let (first, one) = packed(graph.clone(), &arrays);
    let (second, two) = packed(graph, &arrays);
    assert_eq!((first.encode(), one.names, one.arrays), (second.encode(), two.names, two.arrays));
}

#[test]
fn a_shared_array_is_stored_once_and_stays_shared() {
    let arrays = Memory::new(vec![(ArrayInfo::new(Dtype::U8, [3]), vec![1, 2, 3])]);
    let part = ArrayPart { array: ArrayId(0), first_row: 0, shape: [3].into() };
    let graph =
        Graph { nodes: vec![Node::Array(part), Node::List(vec![NodeId(0), NodeId(0)])], root: NodeId(1) };
    let (graph, arrays) = packed(graph, &arrays);
    assert_eq!(arrays.names, ["0"]);
    assert_eq!(graph.items(graph.root), Some(&[NodeId(1), NodeId(1)][..]));
}

#[test]
fn arrays_that_are_in_the_file_already_are_not_stored_again() {
    let arrays = Memory::new(vec![(ArrayInfo::new(Dtype::U8, [3]), vec![1, 2, 3])]);
    let part = ArrayPart { array: ArrayId(0), first_row: 0, shape: [3].into() };
    let graph = Graph { nodes: vec![Node::Array(part)], root: NodeId(0) };
    let mut sink = Memory::new(vec![
        (ArrayInfo::new(Dtype::F64, []), vec![0; 8]),
        (ArrayInfo::new(Dtype::U8, [1, 3]), vec![1, 2, 3]),
    ]);
    let stored = HashMap::from([(ArrayId(0), ArrayId(1))]);
    let walk = walk(&graph, &arrays);
    let graph = pack(graph, &walk, &arrays, &stored, &mut Plan::uncovered("", ""), &mut sink).unwrap();
    graph.check(&sink).unwrap();
    assert_eq!(sink.arrays.len(), 2);
    let part = ArrayPart { array: ArrayId(1), first_row: 0, shape: [3].into() };
    assert_eq!(graph.nodes, [Node::Array(part)]);
}

#[test]
fn blobs_and_parts_of_arrays_are_never_stacked() {
    let arrays = Memory::new((0..20).map(|n| (ArrayInfo::new(Dtype::U8, [2]), vec![n, n])).collect());
    let mut nodes: Vec<Node> = (0..10).map(|n| Node::Bytes(Blob::Array(ArrayId(n)))).collect();
    for array in 10..20 {
        let part = |first_row, rows| ArrayPart { array: ArrayId(array), first_row, shape: [rows].into() };
        nodes.push(Node::Array(part(1, 1)));
        nodes.push(Node::Array(part(0, 2)));
    }
    nodes.push(Node::List((0..nodes.len() as u32).map(NodeId).collect()));
    let root = NodeId(nodes.len() as u32 - 1);
    let (graph, stored) = packed(Graph { nodes, root }, &arrays);
    assert_eq!(stored.arrays.len(), 20);
    let items = graph.items(graph.root).unwrap().to_vec();
    let last = graph.plain_array_at(items[items.len() - 2], &stored, 9).unwrap().unwrap();
    assert_eq!(last.bytes, [19]);
}

#[test]
fn constants_are_stored_once_and_what_nothing_leads_to_is_dropped() {
    let nodes = vec![
        Node::Int(7),
        Node::Int(7),
        Node::Bool(true),
        Node::Int(1),
        Node::Str("dropped".into()),
        Node::List(vec![NodeId(0), NodeId(1), NodeId(2), NodeId(3), NodeId(5)]),
    ];
    let (graph, _) = packed(Graph { nodes, root: NodeId(5) }, &Memory::default());
    let ids = [1, 1, 2, 3, 0].map(NodeId);
    assert_eq!(graph.nodes, [Node::List(ids.into()), Node::Int(7), Node::Bool(true), Node::Int(1)]);
    assert_eq!(graph.root, NodeId(0));
}

#[test]
fn names_are_unique_and_leave_those_of_the_plan_alone() {
    let arrays = Memory::new(vec![(ArrayInfo::new(Dtype::U8, [1]), vec![1]); 4]);
    let part = |n| Node::Array(ArrayPart { array: ArrayId(n), first_row: 0, shape: [1].into() });
    let keys = ["a.b", "a b", "a_b", "predict"];
    let mut nodes: Vec<Node> = keys.iter().map(|key| Node::Str((*key).into())).collect();
    nodes.extend([part(0), part(1), part(2), Node::Dict(vec![(NodeId(0), NodeId(8))]), part(3)]);
    let pairs = [(0, 4), (1, 5), (2, 6), (3, 7)].map(|(key, value)| (NodeId(key), NodeId(value)));
    nodes.push(Node::Dict(pairs.into()));
    let (_, stored) = packed(Graph { nodes, root: NodeId(9) }, &arrays);
    assert_eq!(stored.names, ["a_b", "a_b~2", "a_b~3", "predict~.a_b"]);
}

#[test]
fn attributes_of_objects_give_arrays_their_names() {
    let arrays = Memory::new(vec![(ArrayInfo::new(Dtype::F64, []), vec![0; 8])]);
    let part = ArrayPart { array: ArrayId(0), first_row: 0, shape: [].into() };
    let object = Object {
        make: Make::New,
        callable: NodeId(0),
        args: NodeId(1),
        kwargs: None,
        items: vec![],
        pairs: vec![],
        state: Some(NodeId(4)),
    };
    let nodes = vec![
        Node::Name { module: "m".into(), qualname: "C".into() },
        Node::Tuple(vec![]),
        Node::Str("coef_".into()),
        Node::Array(part),
        Node::Dict(vec![(NodeId(2), NodeId(3))]),
        Node::Object(Box::new(object)),
    ];
    let (_, stored) = packed(Graph { nodes, root: NodeId(5) }, &arrays);
    assert_eq!(stored.names, ["coef_"]);
}

#[test]
fn a_cycle_of_lists_ends() {
    let nodes = vec![Node::List(vec![NodeId(1), NodeId(0)]), Node::List(vec![NodeId(0)])];
    let (graph, _) = packed(Graph { nodes, root: NodeId(0) }, &Memory::default());
    assert_eq!(graph.nodes.len(), 2);
}

#[test]
fn small_arrays_come_before_big_ones() {
    let big = (ArrayInfo::new(Dtype::U8, [70_000]), vec![1; 70_000]);
    let small = (ArrayInfo::new(Dtype::U8, [70]), vec![2; 70]);
    let part = |n, len| Node::Array(ArrayPart { array: ArrayId(n), first_row: 0, shape: [len].into() });
    let nodes = vec![part(0, 70_000), part(1, 70), Node::List(vec![NodeId(0), NodeId(1)])];
    let (_, stored) = packed(Graph { nodes, root: NodeId(2) }, &Memory::new(vec![big, small]));
    assert_eq!(stored.names, ["1", "0"]);
}

fn any_field() -> impl Strategy<Value = (Plain, Vec<u32>)> {
    let plain = prop_oneof![
        (prop::sample::select(vec![1u32, 2, 4, 8]), any::<bool>(), any::<bool>()).prop_map(
            |(itemsize, signed, big)| {
                let kind = if signed { Kind::Int } else { Kind::Uint };
                Plain { big_endian: big && itemsize > 1, ..Plain::new(kind, itemsize) }
            }
        ),
        (prop::sample::select(vec![2u32, 4, 8]), any::<bool>())
            .prop_map(|(size, big_endian)| Plain { big_endian, ..Plain::new(Kind::Float, size) }),
        Just(Plain::new(Kind::Complex, 16)),
        Just(Plain::new(Kind::Bytes, 3)),
        Just(Plain::new(Kind::Str, 8)),
    ];
    (plain, prop::collection::vec(0u32..3, 0..2))
}

proptest! {
    #[test]
    fn any_records_come_back_bit_for_bit(
        fields in prop::collection::vec((any_field(), 0u32..4), 1..6),
        rows in 0usize..20,
        seed in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>(), Just(0xff)], 64),
    ) {
        let mut end = 0;
        let mut names = 0;
        let fields: Vec<Field> = fields
            .into_iter()
            .map(|((dtype, shape), hole)| {
                names += 1;
                let field = Field { name: format!("f{names}"), dtype, shape, offset: end + hole };
                end = field.offset + field.len_bytes().unwrap();
                field
            })
            .collect();
        let record = Record { fields: fields.clone(), itemsize: end + 1, aligned: false };
        let stride = record.itemsize as usize;
        let mut bytes: Vec<u8> = (0..rows * stride).map(|at| seed[at * 7 % seed.len()]).collect();
        for record in bytes.chunks_exact_mut(stride) {
            let covered = |at: u32| {
                fields.iter().any(|f| (f.offset..f.offset + f.len_bytes().unwrap()).contains(&at))
            };
            for at in (0..stride as u32).filter(|at| !covered(*at)) {
                record[at as usize] = 0;
            }
        }
        let info = ArrayInfo::new(Dtype::Record(Arc::new(record)), [rows as u64]);
        let part = ArrayPart { array: ArrayId(0), first_row: 0, shape: [rows as u64].into() };
        let graph = Graph { nodes: vec![Node::Array(part)], root: NodeId(0) };
        let (graph, stored) = packed(graph, &Memory::new(vec![(info, bytes.clone())]));
        let Node::Records(records) = &graph.nodes[0] else { panic!("{:?}", graph.nodes) };
        prop_assert_eq!(read_records(records, &stored).unwrap(), bytes);
    }
}

/// Records of one number each, all 1 but in one row.
fn numbers(dtype: Plain, rows: usize, odd: usize, bytes: &[u8]) -> (Graph, Memory) {
    let one = match dtype.kind {
        Kind::Float => 1f64.to_le_bytes(),
        _ => 1u64.to_le_bytes(),
    };
    let size = dtype.itemsize as usize;
    let mut records = [&one[..size], &[0]].concat().repeat(rows);
    records[odd * (size + 1)..][..size].copy_from_slice(&bytes[..size]);
    let field = Field { name: "n".into(), dtype, shape: vec![], offset: 0 };
    let record = Record { fields: vec![field], itemsize: size as u32 + 1, aligned: false };
    let info = ArrayInfo::new(Dtype::Record(Arc::new(record)), [rows as u64]);
    let part = ArrayPart { array: ArrayId(0), first_row: 0, shape: [rows as u64].into() };
    (Graph { nodes: vec![Node::Array(part)], root: NodeId(0) }, Memory::new(vec![(info, records)]))
}

#[test]
fn a_row_that_nobody_looked_at_gets_the_type_that_it_needs() {
    let (int, uint) = (|size| Plain::new(Kind::Int, size), |size| Plain::new(Kind::Uint, size));
    let words =
        [1u64, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 1 << 31, 1 << 32, 1 << 63, u64::MAX];
    let negative = [-1i64, -128, -129, -32_768, -32_769, i64::from(i32::MIN), i64::MIN].map(|n| n as u64);
    let floats = [0.0, -0.0, 0.5, 255.0, 256.0, 65_536.0, 4_294_967_296.0, -1.0, f64::NAN].map(f64::to_bits);
    let all = [int(2), int(4), int(8), uint(2), uint(4), uint(8), Plain::new(Kind::Float, 8)];
    for dtype in all {
        for word in words.into_iter().chain(negative).chain(floats) {
            let pack = |odd| {
                let (graph, arrays) = numbers(dtype, 2_000, odd, &word.to_le_bytes());
                let (graph, stored) = packed(graph, &arrays);
                let Node::Records(records) = &graph.nodes[0] else { panic!("{:?}", graph.nodes) };
                assert_eq!(read_records(records, &stored).unwrap(), arrays.arrays[0].1, "{dtype:?} {word:x}");
                assert_eq!(stored.names, ["array.n"]);
                stored.arrays[0].0.dtype.clone()
            };
            // The first row is looked at before a type is chosen.
            assert_eq!(pack(0), pack(1_000), "{dtype:?} {word:x}");
        }
    }
}

#[test]
fn values_that_nobody_looked_at_get_the_form_that_they_need() {
    let plain = [0.25, 1.0 / 3.0, 70_000.0, f64::NAN, 200.0];
    for (kind, odd) in (0..3).flat_map(|kind| plain.map(|odd| (kind, odd))) {
        let (graph, mut arrays) = forest(600, kind);
        let (_, last) = arrays.arrays.last_mut().unwrap();
        last[300 * 16 + 8..][..8].copy_from_slice(&odd.to_le_bytes());
        let mut expected = expected(600, kind);
        expected.last_mut().unwrap().1[300 * 16 + 8..][..8].copy_from_slice(&odd.to_le_bytes());
        let (graph, arrays) = packed(graph, &arrays);
        assert!(restored(&graph, &arrays) == expected, "{odd} among values {kind}");
        assert_eq!(arrays.arrays.len(), 9);
    }
}

/// An array that is another one at every look.
struct Changing(Memory, AtomicU64);

impl ArraySource for Changing {
    fn array_count(&self) -> u32 {
        self.0.array_count()
    }

    fn info(&self, id: ArrayId) -> ArrayInfo {
        self.0.info(id)
    }

    fn read_at(&self, id: ArrayId, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_at(id, offset, buf)?;
        let looks = self.1.fetch_add(1, Relaxed);
        buf[..8].copy_from_slice(&(1u64 << (9 * looks)).to_le_bytes());
        Ok(())
    }
}

#[test]
fn an_array_that_changes_while_it_is_written_is_an_error() {
    let (graph, arrays) = numbers(Plain::new(Kind::Int, 8), 2_000, 0, &[1; 8]);
    let arrays = Changing(arrays, AtomicU64::new(0));
    let (walk, plan) = (walk(&graph, &arrays), &mut Plan::uncovered("", ""));
    let error = pack(graph, &walk, &arrays, &HashMap::new(), plan, &mut Memory::default()).unwrap_err();
    assert!(matches!(error, PackError::Changed { array } if array == "array.n"));
}

#[test]
fn column_major_arrays_keep_their_order() {
    let info = ArrayInfo { order: Order::F, ..ArrayInfo::new(Dtype::U8, [2, 2]) };
    let arrays = Memory::new((0..10).map(|n| (info.clone(), vec![n; 4])).collect());
    let part = |n| Node::Array(ArrayPart { array: ArrayId(n), first_row: 0, shape: [2, 2].into() });
    let mut nodes: Vec<Node> = (0..10).map(part).collect();
    nodes.push(Node::List((0..10).map(NodeId).collect()));
    let (_, stored) = packed(Graph { nodes, root: NodeId(10) }, &arrays);
    assert_eq!(stored.arrays, arrays.arrays);
}

/// A dict of `len` terms to their position, as Python ints or as `numpy.int64`, behind a list.
fn vocabulary(len: u32, numpy: bool) -> Graph {
    let mut nodes = Vec::new();
    for index in 0..len {
        nodes.push(Node::Str(format!("term {index}").into()));
        let bytes = i64::from(index).to_le_bytes().into();
        nodes.push(if numpy { Node::Scalar { dtype: Dtype::I64, bytes } } else { Node::Int(index.into()) });
    }
    nodes.push(Node::Dict((0..len).map(|index| (NodeId(2 * index), NodeId(2 * index + 1))).collect()));
    nodes.push(Node::List(vec![NodeId(2 * len), NodeId(2 * len)]));
    Graph { nodes, root: NodeId(2 * len + 1) }
}

#[test]
fn a_big_dict_of_terms_becomes_four_arrays_and_stays_one_object() {
    for numpy in [false, true] {
        let (graph, stored) = packed(vocabulary(1024, numpy), &Memory::default());
        let [Node::List(items), Node::Terms(terms)] = graph.nodes.as_slice() else {
            panic!("{:?}", graph.nodes)
        };
        assert_eq!(*items, [NodeId(1), NodeId(1)]);
        assert_eq!((terms.numpy, stored.arrays.len()), (numpy, 4));
        assert_eq!(stored.names, ["0.text", "0.ends", "0.values", "0.slots"]);
    }
}

#[test]
fn dicts_that_are_small_mixed_doubled_or_keyword_arguments_stay_dicts() {
    let dict = |graph: &Graph| graph.nodes.iter().any(|node| matches!(node, Node::Dict(_)));
    assert!(dict(&packed(vocabulary(1023, false), &Memory::default()).0));
    let changed = |at: usize, node: Node| {
        let mut graph = vocabulary(1024, false);
        graph.nodes[at] = node;
        dict(&packed(graph, &Memory::default()).0)
    };
    assert!(changed(7, Node::Bool(true)));
    assert!(changed(7, Node::Scalar { dtype: Dtype::I64, bytes: [0; 8].into() }));
    assert!(changed(6, Node::Int(3)));
    assert!(changed(6, Node::Str("term 5".into())));
    let mut graph = vocabulary(1024, false);
    let dict_id = NodeId(2048);
    graph.nodes.extend([Node::Tuple(vec![]), Node::Name { module: "m".into(), qualname: "f".into() }]);
    let call = Object {
        make: Make::New,
        callable: NodeId(2051),
        args: NodeId(2050),
        kwargs: Some(dict_id),
        items: vec![],
        pairs: vec![],
        state: None,
    };
    graph.nodes.push(Node::Object(Box::new(call)));
    graph.root = NodeId(2052);
    assert!(dict(&packed(graph, &Memory::default()).0));
}
