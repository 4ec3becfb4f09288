//! Models in memory.

use std::io::Cursor;

use onecopy::{
    AlignedBytes, ArrayError, ArrayInfo, Codec, Dtype, Model, Order, Parts, Role, VerifyOptions, Writer,
};

/// Bytes of a file with the given arrays of `f64`.
fn file(codec: Codec, arrays: &[(&str, &[f64])]) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new()), codec).unwrap();
    for (name, values) in arrays {
        let info = ArrayInfo::new(Dtype::F64, [values.len() as u64]);
        let mut bytes: &[u8] = bytemuck::cast_slice(values);
        writer.array(name, &info, Role::Predict, &mut bytes).unwrap();
    }
    writer.finish(&Parts::default()).unwrap().0.into_inner()
}

#[test]
fn arrays_are_found_by_name_and_viewed_in_place() {
    let bytes = AlignedBytes::copy_from(&file(Codec::Raw, &[("b", &[1.0, 2.0]), ("a", &[3.0])]));
    let model = Model::from_bytes(bytes).unwrap();
    assert_eq!([1.0, 2.0], model.array("b").unwrap().values::<f64>().unwrap());
    assert_eq!([3.0], model.array("a").unwrap().values::<f64>().unwrap());
    let names: Vec<_> = model.arrays().map(|array| array.name()).collect();
    assert_eq!(["b", "a"], names[..]);
    model.verify(VerifyOptions { digests: true }, &|_| {}).unwrap();
}

#[test]
fn a_missing_name_and_a_wrong_type_are_errors_that_say_what_there_is() {
    let model = Model::from_bytes(AlignedBytes::copy_from(&file(Codec::Raw, &[("a", &[1.0])]))).unwrap();
    let missing = model.array("b").unwrap_err();
    assert_eq!(ArrayError::NoSuchName { name: "b".into(), count: 1 }, missing);
    let wrong = model.array("a").unwrap().view::<f32>().unwrap_err();
    assert_eq!("array `a` holds `<f8`, asked for `<f4`", wrong.to_string());
}

#[test]
fn compressed_arrays_cannot_be_viewed_but_are_verified() {
    let values = vec![1.5; 400_000];
    let bytes = file(Codec::Zstd { level: 3 }, &[("a", &values)]);
    assert!(bytes.len() < 100_000);
    let model = Model::from_bytes(bytes).unwrap();
    assert!(model.is_cold());
    let error = model.array("a").unwrap().view::<f64>().unwrap_err();
    assert!(error.to_string().contains("onecopy restore"), "{error}");
    assert_eq!(4, model.verify(VerifyOptions { digests: true }, &|_| {}).unwrap().blocks);
}

#[test]
fn order_and_shape_make_the_view() {
    let mut writer = Writer::new(Cursor::new(Vec::new()), Codec::Raw).unwrap();
    let info = ArrayInfo { dtype: Dtype::I32, shape: vec![2, 3], order: Order::F };
    let mut bytes: &[u8] = bytemuck::cast_slice(&[1i32, 4, 2, 5, 3, 6]);
    writer.array("m", &info, Role::Predict, &mut bytes).unwrap();
    let bytes = writer.finish(&Parts::default()).unwrap().0.into_inner();
    let model = Model::from_bytes(AlignedBytes::copy_from(&bytes)).unwrap();
    let expected = ndarray::array![[1, 2, 3], [4, 5, 6]].into_dyn();
    assert_eq!(expected, model.array("m").unwrap().view::<i32>().unwrap());
}
