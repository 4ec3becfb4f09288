//! Wrong usage gives exit code 2; help teaches.

use crate::house::House;

const COMMANDS: [&str; 10] =
    ["convert", "inspect", "verify", "predict", "pool", "archive", "restore", "prune", "cache", "bench"];

#[test]
fn every_command_is_in_the_help_and_its_own_help_has_examples() {
    let house = House::new();
    let help = house.run("--help").quiet();
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command} in {help}");
        let help = house.run(&format!("{command} --help")).quiet();
        assert!(help.contains("Examples:") && help.contains(&format!("onecopy {command} ")), "{help}");
    }
}

#[test]
fn wrong_usage_gives_exit_code_2_and_touches_nothing() {
    let house = House::with_model();
    house.npy("x.npy", &[2, 3]);
    let before = house.names();
    for words in [
        "",
        "fly",
        "convert",
        "convert x.npy --max-decoded lots",
        "predict scaler.onecopy",
        "predict scaler.onecopy x.parquet",
        "predict scaler.onecopy x.npy -o y.txt",
        "predict scaler.onecopy x.npy --method divine",
        "predict scaler.onecopy x.npy --threads 0",
        "pool scaler.onecopy x.npy --workers 0",
        "pool scaler.onecopy x.npy",
        "predict scaler.onecopy x.npy --share disk",
        "predict scaler.onecopy x.npy --guard cache",
        "archive scaler.onecopy --level 99",
        "cache",
        "bench x.joblib --python a --no-python",
    ] {
        let ended = house.run(words);
        assert_eq!(Some(2), ended.code, "`{words}`: {}", ended.stderr);
        assert!(
            ended.stderr.contains("Usage:") || ended.stderr.contains("--help"),
            "`{words}`: {}",
            ended.stderr
        );
    }
    assert_eq!(before, house.names());
}
