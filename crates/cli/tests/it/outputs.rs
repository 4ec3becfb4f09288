//! What is written: whole or not at all, and quietly.

use crate::house::House;

#[test]
fn answers_are_the_same_in_every_format() {
    let house = House::with_model();
    house.npy("x.npy", &[2, 3]);
    house.put("x.csv", "c,a,b\n2,0,1\n5,3,4\n");
    let expected = "-1.0,-1.0,-1.0\n2.0,2.0,2.0\n";
    assert_eq!(expected, house.run("predict scaler.onecopy x.npy --method transform").quiet());
    let named = house.run("predict scaler.onecopy x.csv --method transform");
    assert_eq!((Some(0), expected), (named.code, named.stdout.as_str()));
    assert!(named.stderr.contains("matched by name"), "{}", named.stderr);
    house.run("predict scaler.onecopy x.npy --method transform -o y.csv").quiet();
    assert_eq!(expected.as_bytes(), house.read("y.csv"));
    house.run("predict scaler.onecopy x.npy --method transform -o y.npy").quiet();
    house.npy("expected.npy", &[2, 3]);
    let (found, like) = (house.read("y.npy"), house.read("expected.npy"));
    assert_eq!(like[..128], found[..128]);
    let values: Vec<f64> =
        found[128..].chunks(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(vec![-1.0, -1.0, -1.0, 2.0, 2.0, 2.0], values);
    house.run("predict scaler.onecopy x.npy --method transform -o y.npz").quiet();
    assert!(house.read("y.npz").starts_with(b"PK"));
}

#[test]
fn a_default_name_is_never_replaced_and_a_given_one_is() {
    let house = House::with_model();
    house.npy("x.npy", &[2, 3]);
    house.run("convert x.npy").quiet();
    let converted = house.read("x.onecopy");
    house.put("x.onecopy", "precious");
    house.run("convert x.npy").error(&["`x.onecopy` exists already", "-o x.onecopy"]);
    assert_eq!(b"precious".to_vec(), house.read("x.onecopy"));
    house.run("convert x.npy -o x.onecopy").quiet();
    assert_eq!(converted, house.read("x.onecopy"));

    let hot = house.read("scaler.onecopy");
    house.run("archive scaler.onecopy").quiet();
    house.run("archive scaler.onecopy").error(&["`scaler.cold.onecopy` exists already"]);
    house.run("restore scaler.cold.onecopy").error(&["`scaler.onecopy` exists already"]);
    house.run("restore scaler.cold.onecopy -o back.onecopy").quiet();
    assert_eq!(hot, house.read("back.onecopy"));
}

#[test]
fn what_is_no_file_or_is_the_input_is_not_replaced() {
    let house = House::with_model();
    house.npy("x.npy", &[2, 3]);
    std::fs::create_dir(house.path("folder")).unwrap();
    std::os::unix::fs::symlink("scaler.onecopy", house.path("link.onecopy")).unwrap();
    let model = house.read("scaler.onecopy");
    house.run("convert x.npy -o folder").error(&["`folder`", "found a directory"]);
    house.run("convert x.npy -o /dev/null").error(&["`/dev/null`", "found a device"]);
    house.run("convert x.npy -o nowhere/x.onecopy").error(&["no directory `nowhere`"]);
    house.run("convert x.npy -o x.npy/y.onecopy").error(&["`x.npy/y.onecopy`"]);
    house.run("archive scaler.onecopy -o link.onecopy").error(&["it is the input"]);
    house.run("predict scaler.onecopy x.npy --method transform -o x.npy").error(&["it is the input"]);
    assert_eq!(model, house.read("scaler.onecopy"));
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let house = House::new();
    house.npy("x.npy", &[20_000, 100]);
    house.linear("linear.onecopy", 10_000);
    house.run("archive linear.onecopy -o small.onecopy --level fast").quiet();
    house.npy("rows.npy", &[40, 100]);
    house.put("old.onecopy", "precious");
    house.put("old.npy", "precious");
    let before = house.names();
    // The shell counts in units of 1024 bytes; a file that reaches the limit is a write error, not the end of the process.
    let limited = |words: &str| house.shell(&format!("ulimit -f 1000; onecopy {words}"));
    for words in [
        "convert x.npy -o old.onecopy",
        "convert x.npy -o new.onecopy",
        "restore small.onecopy -o old.onecopy",
        "predict linear.onecopy rows.npy -o old.npy",
        "predict linear.onecopy rows.npy -o new.csv",
        "pool linear.onecopy rows.npy --workers 2 -o old.npy",
    ] {
        limited(words).error(&["File too large"]);
        assert_eq!(before, house.names(), "`{words}`");
        assert_eq!(b"precious".to_vec(), house.read("old.onecopy"), "`{words}`");
        assert_eq!(b"precious".to_vec(), house.read("old.npy"), "`{words}`");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error_and_a_full_device_is() {
    let house = House::with_model();
    house.npy("x.npy", &[100_000, 3]);
    let words = "predict scaler.onecopy x.npy --method transform";
    let script = format!("onecopy {words} | head -n 1; echo ${{PIPESTATUS[0]}}");
    assert_eq!("-1.0,-1.0,-1.0\n0\n", house.shell(&script).quiet());
    house.shell(&format!("onecopy {words} > /dev/full")).error(&["standard output", "No space left"]);
}

#[test]
fn archives_are_used_as_they_are_wherever_their_bytes_shall_lie() {
    let house = House::with_model();
    house.npy("x.npy", &[2, 3]);
    let expected = house.run("predict scaler.onecopy x.npy --method transform").quiet();
    house.run("archive scaler.onecopy").quiet();
    let before = house.names();
    for how in ["", "--share memfd", "--guard memfd", "--cache restored"] {
        for model in ["scaler.onecopy", "scaler.cold.onecopy"] {
            let words = format!("predict {model} x.npy --method transform {how}");
            assert_eq!(expected, house.run(&words).quiet(), "`{words}`");
        }
    }
    assert_eq!(before.len() + 1, house.names().len());
    assert!(house.run("cache list").quiet().contains("1 restored archives"));
    assert!(house.run("cache clear --cache restored").quiet().contains("removed 1 restored archives"));
}

#[test]
fn reports_are_json_for_scripts() {
    let house = House::with_model();
    house.npy("x.npy", &[4, 3]);
    for (words, key) in [
        ("convert x.npy --json", "digest"),
        ("inspect scaler.onecopy --json", "native"),
        ("verify scaler.onecopy --json", "blocks"),
        ("archive scaler.onecopy --json", "source_bytes"),
        ("restore scaler.cold.onecopy -o back.onecopy --json", "source_bytes"),
        ("pool scaler.onecopy x.npy --workers 2 --method transform --json", "total_pss"),
        ("pool scaler.cold.onecopy x.npy --workers 2 --method transform --json", "total_pss"),
        ("cache list --json", "entries"),
        ("cache clear --json", "entries"),
    ] {
        let text = house.run(words).quiet();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(value.get(key).is_some(), "`{words}` has no `{key}`: {text}");
    }
}
