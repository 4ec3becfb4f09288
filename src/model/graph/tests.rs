use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::format::ArrayInfo;
use crate::format::dtype::{Field, Kind, Record, TimeUnit};
use crate::model::array::tests::Memory;

fn info(dtype: Dtype, shape: &[u64], order: Order) -> ArrayInfo {
    ArrayInfo { order, ..ArrayInfo::new(dtype, shape.to_vec()) }
}

/// Array 0 to 6: two columns of ten rows, a blob, a matrix in F order, ends, values and slots of ten terms.
fn arrays() -> Memory {
    let zeros = |info: ArrayInfo| {
        let len = info.shape.iter().product::<u64>() as usize * info.dtype.itemsize() as usize;
        (info, vec![0; len])
    };
    Memory::new(vec![
        zeros(info(Dtype::U8, &[10], Order::C)),
        zeros(info(Dtype::F64, &[10], Order::C)),
        zeros(info(Dtype::U8, &[100], Order::C)),
        zeros(info(Dtype::F64, &[3, 4], Order::F)),
        zeros(info(Dtype::U32, &[10], Order::C)),
        zeros(info(Dtype::I64, &[10], Order::C)),
        zeros(info(Dtype::U64, &[16], Order::C)),
    ])
}

fn field(name: &str, dtype: Plain, offset: u32) -> Field {
    Field { name: name.into(), dtype, shape: vec![], offset }
}

fn record() -> Dtype {
    let fields = vec![field("a", Plain::new(Kind::Int, 8), 0), field("b", Plain::new(Kind::Float, 8), 8)];
    Dtype::Record(Arc::new(Record { fields, itemsize: 24, aligned: true }))
}

fn part(array: u32, first_row: u64, shape: &[u64]) -> ArrayPart {
    ArrayPart { array: ArrayId(array), first_row, shape: shape.into() }
}

fn terms(text: u32, ends: u32, values: u32, slots: u32) -> Node {
    let [text, ends, values, slots] = [text, ends, values, slots].map(ArrayId);
    Node::Terms(Box::new(Terms { text, ends, values, slots, seed: 3, numpy: text.0 == 2 }))
}

fn records(columns: Vec<ArrayPart>, shape: &[u64]) -> Node {
    Node::Records(Box::new(Records { dtype: record(), shape: shape.into(), columns }))
}

/// A graph with `node` at number 4 and one of each sort that nodes refer to before it.
fn around(node: Node) -> Graph {
    let name = Node::Name { module: "builtins".into(), qualname: "list".into() };
    let whole = Node::Array(part(3, 0, &[3, 4]));
    Graph { nodes: vec![Node::Tuple(vec![]), name, Node::Dict(vec![]), whole, node], root: NodeId(4) }
}

fn error_of(node: Node) -> String {
    let graph = around(node);
    let error = Graph::decode(&graph.encode(), &arrays()).unwrap_err();
    assert_eq!(graph.check(&arrays()).unwrap_err(), error);
    error.to_string()
}

fn any_node() -> impl Strategy<Value = Node> {
    let id = || (0u32..5).prop_map(NodeId);
    let ids = move || vec(id(), 0..4);
    let pairs = move || vec((id(), id()), 0..4);
    let blob = || {
        prop_oneof![
            vec(any::<u8>(), 0..9).prop_map(|bytes| Blob::Inline(bytes.into())),
            Just(Blob::Array(ArrayId(2)))
        ]
    };
    let run = (0u64..5, 0u64..6)
        .prop_map(|(row, rows)| records(vec![part(0, row, &[rows]), part(1, row, &[rows])], &[rows]));
    let apart = (0u64..5, 0u64..5)
        .prop_map(|(row, other)| records(vec![part(0, row, &[5]), part(1, other, &[5])], &[5]));
    let object = (any::<bool>(), id(), any::<bool>(), ids(), pairs(), proptest::option::of(id())).prop_map(
        |(call, callable, kwargs, items, pairs, state)| {
            let make = if call { Make::Call } else { Make::New };
            let kwargs = kwargs.then_some(NodeId(2));
            Node::Object(Box::new(Object { make, callable, args: NodeId(0), kwargs, items, pairs, state }))
        },
    );
    let unit = Plain::new(Kind::DateTime(TimeUnit { base: 9, count: 25 }), 8);
    let simple = prop_oneof![
        Just(Node::None),
        any::<bool>().prop_map(Node::Bool),
        any::<i64>().prop_map(Node::Int),
        vec(any::<u8>(), 8..20).prop_map(|mut bytes| {
            bytes.push(1);
            Node::BigInt(bytes.into())
        }),
        any::<f64>().prop_map(Node::Float),
        ".*".prop_map(|text| Node::Str(text.into())),
        blob().prop_map(Node::Bytes),
        blob().prop_map(Node::ByteArray),
        (".*", ".*").prop_map(|(m, q)| Node::Name { module: m.into(), qualname: q.into() }),
    ];
    let containers = prop_oneof![
        ids().prop_map(Node::Tuple),
        ids().prop_map(Node::List),
        pairs().prop_map(Node::Dict),
        ids().prop_map(Node::Set),
        ids().prop_map(Node::FrozenSet),
        object,
        (ids(), any::<bool>()).prop_map(|(items, c)| Node::ObjectArray {
            shape: [items.len() as u64, 1].into(),
            order: if c { Order::C } else { Order::F },
            items
        }),
    ];
    let arrays = prop_oneof![
        (0u64..11).prop_map(|row| Node::Array(part(1, row, &[10 - row]))),
        Just(Node::Array(part(1, 0, &[5, 2]))),
        run,
        apart,
        (0u64..5, any::<bool>()).prop_map(|(row, divided)| Node::Quotients(Box::new(Quotients {
            numerators: part(0, row, &[3]),
            denominators: divided.then(|| part(1, row, &[3])),
        }))),
        prop_oneof![Just(terms(0, 4, 5, 6)), Just(terms(2, 4, 5, 6))],
        Just(Node::ArrayOfClass { class: NodeId(1), array: NodeId(3) }),
        any::<[u8; 8]>().prop_map(move |b| Node::Scalar { dtype: Dtype::Plain(unit), bytes: b.into() }),
        Just(Node::Dtype(record())),
    ];
    prop_oneof![simple, containers, arrays]
}

fn any_graph() -> impl Strategy<Value = Graph> {
    vec(any_node(), 0..20).prop_map(|nodes| {
        let mut graph = around(Node::None);
        graph.nodes.extend(nodes);
        graph
    })
}

proptest! {
    #[test]
    fn a_graph_comes_back_as_it_was(graph in any_graph()) {
        let bytes = graph.encode();
        let decoded = Graph::decode(&bytes, &arrays()).unwrap();
        // NaN differs from itself, its bytes do not.
        prop_assert_eq!(decoded.encode(), bytes);
        prop_assert_eq!(format!("{decoded:?}"), format!("{graph:?}"));
    }

    #[test]
    fn changed_bytes_are_refused_or_mean_another_graph(
        graph in any_graph(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = graph.encode();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(graph) = Graph::decode(&bytes, &arrays()) {
            graph.audit();
            prop_assert_eq!(Graph::decode(&graph.encode(), &arrays()).unwrap().encode(), graph.encode());
        }
    }

    #[test]
    fn any_bytes_are_refused_or_a_graph(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Graph::decode(&bytes, &arrays());
    }
}

#[test]
fn a_graph_cut_short_anywhere_is_refused() {
    let bytes = around(records(vec![part(0, 1, &[2]), part(1, 1, &[2])], &[2])).encode();
    for len in 0..bytes.len() {
        assert!(Graph::decode(&bytes[..len], &arrays()).is_err(), "{len} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    let trailing = GraphError::Trailing { offset: bytes.len(), len: bytes.len() + 1 };
    assert_eq!(Graph::decode(&longer, &arrays()), Err(trailing));
}

#[test]
fn a_tree_of_a_forest_takes_few_bytes() {
    let one = around(records(vec![part(0, 5, &[5]), part(1, 5, &[5])], &[5])).encode().len();
    let nine = around(Node::None).encode().len();
    let dtype = around(Node::Dtype(record())).encode().len() - nine - 1;
    assert!(one - nine - dtype <= 6, "{one} {nine} {dtype}");
}

#[test]
fn more_nodes_than_bytes_are_refused_before_memory_is_asked_for() {
    let mut bytes = vec![0];
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    bytes.extend([0; 8]);
    let error = Graph::decode(&bytes, &arrays()).unwrap_err().to_string();
    assert!(error.contains("number of nodes") && error.contains("4294967295"), "{error}");
}

#[test]
fn more_items_than_bytes_are_refused() {
    let bytes = [0, 1, 0, 12, 0xff, 0xff, 0x7f];
    let error = Graph::decode(&bytes, &arrays()).unwrap_err().to_string();
    assert!(error.contains("a list") && error.contains("at most 0"), "{error}");
}

#[test]
fn rows_past_the_end_of_an_array_are_refused() {
    assert!(error_of(Node::Array(part(1, 6, &[5]))).contains("rows from 6 on"));
    assert!(error_of(Node::Array(part(1, u64::MAX, &[5]))).contains("part of an array"));
    assert!(error_of(Node::Array(part(1, 0, &[1 << 40, 1 << 40]))).contains("part of an array"));
}

#[test]
fn rows_of_a_column_major_array_are_refused() {
    assert!(error_of(Node::Array(part(3, 1, &[1, 4]))).contains("F order"));
    assert!(error_of(Node::Array(part(3, 0, &[12]))).contains("F order"));
}

#[test]
fn an_array_that_is_not_there_is_refused() {
    assert!(error_of(Node::Array(part(7, 0, &[1]))).contains("array 7"));
    assert!(error_of(Node::Bytes(Blob::Array(ArrayId(1)))).contains("array of bytes"));
}

#[test]
fn columns_that_do_not_widen_to_their_field_are_refused() {
    assert!(error_of(records(vec![part(1, 0, &[5]), part(1, 0, &[5])], &[5])).contains("dtype of a column"));
    assert!(error_of(records(vec![part(0, 0, &[5])], &[5])).contains("number of columns"));
    assert!(error_of(records(vec![part(0, 0, &[5]), part(1, 0, &[4])], &[5])).contains("shape of a column"));
}

#[test]
fn quotients_of_the_wrong_types_or_lengths_are_refused() {
    let node = |numerators, denominators| {
        Node::Quotients(Box::new(Quotients { numerators, denominators: Some(denominators) }))
    };
    assert!(error_of(node(part(1, 0, &[3]), part(1, 0, &[3]))).contains("dtype of numerators"));
    assert!(error_of(node(part(0, 0, &[3]), part(1, 0, &[2]))).contains("shape of denominators"));
    assert!(error_of(node(part(0, 0, &[3]), part(3, 0, &[3, 4]))).contains("shape of denominators"));
}

#[test]
fn terms_whose_arrays_do_not_fit_together_are_refused() {
    assert!(error_of(terms(1, 4, 5, 6)).contains("text of terms"));
    assert!(error_of(terms(0, 1, 5, 6)).contains("ends of terms"));
    assert!(error_of(terms(0, 4, 1, 6)).contains("values of terms"));
    assert!(error_of(terms(0, 4, 5, 3)).contains("slots of terms"));
    assert!(error_of(terms(0, 4, 5, 7)).contains("array 7"));
}

#[test]
fn records_that_are_mostly_padding_are_refused() {
    let fields = vec![field("a", Plain::new(Kind::Uint, 1), 0)];
    let dtype = Dtype::Record(Arc::new(Record { fields, itemsize: 1 << 30, aligned: false }));
    let node =
        Node::Records(Box::new(Records { dtype, shape: [10].into(), columns: vec![part(0, 0, &[10])] }));
    assert!(error_of(node).contains("item size of records"));
}

#[test]
fn objects_without_a_tuple_of_arguments_are_refused() {
    let object = |args, kwargs| {
        let (items, pairs, state) = (vec![], vec![], None);
        let callable = NodeId(1);
        Node::Object(Box::new(Object { make: Make::New, callable, args, kwargs, items, pairs, state }))
    };
    assert!(error_of(object(NodeId(1), None)).contains("arguments"));
    assert!(error_of(object(NodeId(0), Some(NodeId(0)))).contains("keyword arguments"));
}

#[test]
fn an_array_class_that_is_not_a_name_is_refused() {
    assert!(
        error_of(Node::ArrayOfClass { class: NodeId(0), array: NodeId(3) }).contains("class of an array")
    );
    assert!(error_of(Node::ArrayOfClass { class: NodeId(1), array: NodeId(0) }).contains("array of a class"));
}

#[test]
fn ints_in_a_second_form_are_refused() {
    assert!(error_of(Node::BigInt([1, 2].into())).contains("long int"));
    assert!(error_of(Node::BigInt([1, 2, 3, 4, 5, 6, 7, 8, 0].into())).contains("long int"));
}

#[test]
fn object_arrays_with_missing_items_are_refused() {
    let node = Node::ObjectArray { shape: [2, 2].into(), order: Order::C, items: vec![NodeId(0); 3] };
    assert!(error_of(node).contains("number of objects"));
    let node = Node::ObjectArray { shape: [1 << 40, 1 << 40].into(), order: Order::C, items: vec![] };
    assert!(error_of(node).contains("number of objects"));
}

#[test]
fn the_audit_tells_calls_from_instances_and_values() {
    let mut graph = around(Node::None);
    let (args, callable) = (NodeId(0), NodeId(1));
    for make in [Make::Call, Make::New, Make::New] {
        let (kwargs, items, pairs, state) = (None, vec![], vec![], None);
        graph.nodes.push(Node::Object(Box::new(Object {
            make,
            callable,
            args,
            kwargs,
            items,
            pairs,
            state,
        })));
    }
    graph.nodes.push(Node::List(vec![callable]));
    graph.nodes.push(Node::Name { module: "os".into(), qualname: "system".into() });
    let audit = graph.audit();
    let listed: Vec<_> =
        audit.names.iter().map(|u| (u.module.as_str(), u.called, u.instances, u.values)).collect();
    assert_eq!(listed, [("builtins", 1, 2, 1), ("os", 0, 0, 0)]);
    assert_eq!(audit.computed_callables, 0);
}
