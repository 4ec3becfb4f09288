//! Bad input: one line that says what is wrong, exit code 1, nothing left behind.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::house::House;

#[test]
fn a_source_that_is_no_file_is_named_with_what_it_is() {
    let house = House::with_model();
    std::fs::create_dir(house.path("folder")).unwrap();
    assert!(Command::new("mkfifo").arg(house.path("fifo")).status().unwrap().success());
    let before = house.names();
    for command in ["convert", "inspect", "verify", "archive", "restore", "bench"] {
        house.run(&format!("{command} nowhere")).error(&["`nowhere`", "No such file"]);
        house
            .run(&format!("{command} folder"))
            .error(&["`folder`", "expected a regular file, found a directory"]);
        house.run(&format!("{command} fifo")).error(&["`fifo`", "expected a regular file, found a FIFO"]);
    }
    house.run("predict folder x.npy").error(&["`folder`", "a directory"]);
    house.run("predict scaler.onecopy folder").error(&["`folder`", "found a directory"]);
    house.run("predict scaler.onecopy nowhere.npy").error(&["`nowhere.npy`", "No such file"]);
    assert_eq!(before, house.names());
}

#[test]
fn what_is_no_model_is_refused_and_leaves_nothing() {
    let house = House::with_model();
    house.put("text", "hello");
    house.put("empty", "");
    let whole = house.read("scaler.onecopy");
    house.put("cut.onecopy", &whole[..whole.len() - 40]);
    let before = house.names();
    house.run("convert text").error(&["text"]);
    house.run("convert empty").error(&["empty"]);
    house.run("convert scaler.onecopy -o again.onecopy").error(&["scaler.onecopy", "already"]);
    for command in ["inspect", "verify", "archive", "restore"] {
        house.run(&format!("{command} text")).error(&["text"]);
        house.run(&format!("{command} empty")).error(&["empty"]);
        house.run(&format!("{command} cut.onecopy")).error(&["cut.onecopy"]);
    }
    assert_eq!(before, house.names());
}

#[test]
fn a_flipped_byte_is_found_and_placed() {
    let house = House::new();
    house.linear("linear.onecopy", 1000);
    let mut bytes = house.read("linear.onecopy");
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    house.put("linear.onecopy", bytes);
    house.npy("x.npy", &[2, 100]);
    house.run("verify linear.onecopy").error(&["linear.onecopy is damaged", "array0"]);
    house.run("pool linear.onecopy x.npy --workers 2 -o y.npy").error(&["does not verify", "array0"]);
    house.run("archive linear.onecopy").error(&["array0"]);
    assert_eq!(vec!["linear.onecopy", "x.npy"], house.names());
}

#[test]
fn tables_that_do_not_fit_are_explained() {
    let house = House::with_model();
    house.npy("flat.npy", &[6]);
    house.npy("none.npy", &[0, 3]);
    house.npy("wide.npy", &[2, 4]);
    house.put("text.npy", "1,2,3");
    let csv = [
        ("empty", "", "it is empty"),
        ("ragged", "1,2,3\n4,5\n", "line 2 has 2 columns, expected 3"),
        ("word", "1,2,3\n4,five,6\n", "line 2, column 2: `five` is not a number"),
        ("header", "a,b,c\n", "has a header but no rows"),
        ("column", "a,c,d\n1,2,3\n", "column `b` of the model is missing"),
        ("mixed", "a,2,3\n1,2,3\n", "line 1 mixes numbers with words"),
    ];
    for (name, content, _) in csv {
        house.put(&format!("{name}.csv"), content);
    }
    let before = house.names();
    let predict =
        |input: &str| house.run(&format!("predict scaler.onecopy {input} --method transform -o y.npy"));
    for (name, _, expected) in csv {
        predict(&format!("{name}.csv")).error(&[&format!("`{name}.csv`"), expected]);
    }
    predict("flat.npy").error(&["`flat.npy`", "one dimension of 6 values", "reshape"]);
    predict("none.npy").error(&["`none.npy`", "no rows"]);
    predict("wide.npy").error(&["wide.npy", "expects 3 columns (features), the input has 4"]);
    predict("text.npy").error(&["`text.npy`"]);
    house.run("predict scaler.onecopy wide.npy").error(&["StandardScaler has no `predict`", "`transform`"]);
    assert_eq!(before, house.names());
}

#[test]
fn without_permission_nothing_is_read_or_written() {
    let house = House::with_model();
    house.npy("x.npy", &[2, 3]);
    house.npy("secret.npy", &[2, 3]);
    // Permissions do not bind root, so root runs a copy of the command as nobody.
    std::fs::copy(env!("CARGO_BIN_EXE_onecopy"), house.path("onecopy")).unwrap();
    let mode = |name: &str, mode| {
        std::fs::set_permissions(house.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("secret.npy", 0o000);
    mode("x.npy", 0o644);
    mode("scaler.onecopy", 0o644);
    mode("", 0o555);
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let run = |words: &str| {
        let mut command = Command::new(house.path("onecopy"));
        command.args(words.split_whitespace()).current_dir(house.path(""));
        if root {
            command.uid(65534).gid(65534);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for words in [
        "predict scaler.onecopy secret.npy --method transform",
        "predict scaler.onecopy x.npy --method transform -o y.npy",
        "convert x.npy",
        "archive scaler.onecopy",
    ] {
        let (code, stderr) = run(words);
        assert!(code == Some(1) && stderr.contains("Permission denied"), "`{words}`: {code:?} {stderr}");
    }
    mode("", 0o755);
    assert_eq!(vec!["onecopy", "scaler.onecopy", "secret.npy", "x.npy"], house.names());
}
