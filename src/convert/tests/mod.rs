use super::*;
use crate::model::graph::{Make, Node, NodeId};

mod buffers;
mod hostile;
mod real;
mod view;

fn read_with(source: Box<dyn ReadAt>) -> Result<Foreign, ConvertError> {
    let limits = Limits::for_source(source.len_bytes());
    read_foreign(source, &limits, &mut tempfile::tempfile, &|_| {})
}

fn read(bytes: &[u8]) -> Result<Foreign, ConvertError> {
    read_with(Box::new(bytes.to_vec()))
}

fn node(foreign: &Foreign, id: NodeId) -> &Node {
    &foreign.graph.nodes[id.0 as usize]
}

fn root(foreign: &Foreign) -> &Node {
    node(foreign, foreign.graph.root)
}

#[test]
fn a_call_of_os_system_is_data_and_runs_nothing() {
    let foreign = read(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x05false\x85R.").unwrap();
    let Node::Object(object) = root(&foreign) else { panic!("{:?}", root(&foreign)) };
    assert_eq!(Make::Call, object.make);
    let name = Node::Name { module: "os".into(), qualname: "system".into() };
    assert_eq!(&name, node(&foreign, object.callable));
    assert_eq!("pickle protocol 4", foreign.container);
}

#[test]
fn equal_keys_keep_the_first_key_and_the_last_value() {
    // {1: 'a', True: 'b', 1.0: 'c', '1': 'd'}
    let foreign = read(b"\x80\x02}(K\x01X\x01\0\0\0a\x88X\x01\0\0\0bG?\xf0\0\0\0\0\0\0X\x01\0\0\0cX\x01\0\0\0\x31X\x01\0\0\0du.");
    let foreign = foreign.unwrap();
    let Node::Dict(pairs) = root(&foreign) else { panic!() };
    let pairs: Vec<_> =
        pairs.iter().map(|(key, value)| (node(&foreign, *key), node(&foreign, *value))).collect();
    let expected = [(Node::Int(1), Node::Str("c".into())), (Node::Str("1".into()), Node::Str("d".into()))];
    assert_eq!(expected.iter().map(|(key, value)| (key, value)).collect::<Vec<_>>(), pairs);
}

#[test]
fn a_list_may_contain_itself() {
    let foreign = read(b"\x80\x02]q\x00h\x00a.").unwrap();
    assert_eq!(&Node::List(vec![NodeId(0)]), root(&foreign));
}

#[test]
fn bytes_after_the_object_are_counted_and_refused() {
    let error = read(b"\x80\x02N.N.").err().unwrap();
    assert_eq!(
        "the object ends at byte 4, but 2 more bytes follow; save one object per file",
        error.to_string()
    );
}
