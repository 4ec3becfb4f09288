//! `onecopy inspect`
#![forbid(unsafe_code)]

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use onecopy::{Inspection, Model, Native, ObjectSummary, Total, UnitsSummary};

use crate::{out, paths, text};

/// Show what a onecopy file holds, without running any of it.
///
/// The saved type, library versions, what is predicted from natively, the Python names that rebuilding the object would
/// use, arrays and their sizes, metadata.
#[derive(Args)]
#[command(after_help = "Examples:
  onecopy inspect forest.onecopy
  onecopy inspect forest.onecopy --arrays
  onecopy inspect forest.onecopy --json | jq .metadata.user")]
pub(crate) struct Inspect {
    /// The onecopy file.
    file: PathBuf,
    /// List every array.
    #[arg(long)]
    arrays: bool,
    /// Everything as JSON, arrays included.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<()> {
        paths::regular_file(&self.file)?;
        let found = Model::open(&self.file)?
            .inspect()
            .with_context(|| format!("cannot inspect `{}`", self.file.display()))?;
        if self.json { out::print_json(&found) } else { out::print(&self.text(&found)) }
    }

    fn text(&self, found: &Inspection) -> String {
        let mut text = String::new();
        let mut line = |label: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{label:<10} {value}");
        };
        let temperature = if found.cold { ", compressed: restored when it is used" } else { "" };
        line(
            "file",
            format!(
                "{}, {}, format {}{temperature}",
                self.file.display(),
                text::bytes(found.len_bytes),
                found.format
            ),
        );
        line("digest", found.digest.clone());
        if let Some(object) = &found.object {
            line("object", format!("{}, {} Python values", text::printable(&object.model), object.values));
        }
        match &found.native {
            Native::Yes { methods, estimators, trees } => {
                line(
                    "native",
                    format!("yes: {} by {}", methods.join(", "), text::printable(&estimators.join(", "))),
                );
                trees.iter().for_each(|trees| line("trees", trees.clone()));
            }
            Native::No { what, why } => {
                line("native", format!("no: {}: {}", text::printable(what), text::printable(why)));
            }
            _ => {}
        }
        line(
            "arrays",
            format!("{} for prediction, {} for rebuilding", total(&found.predict), total(&found.rebuild)),
        );
        if let Some(units) = &found.units {
            line("units", shared(units));
        }
        if let Some(object) = &found.object {
            line("names", names(object));
        }
        describe(&found.metadata, &mut line);
        if self.arrays {
            text.push('\n');
            text.push_str(&arrays(found));
        }
        text
    }
}

fn total(total: &Total) -> String {
    let stored = if total.stored_bytes == total.len_bytes {
        String::new()
    } else {
        format!(" ({} stored)", text::bytes(total.stored_bytes))
    };
    format!("{} of {}{stored}", total.arrays, text::bytes(total.len_bytes))
}

/// What an archive of versions shares.
fn shared(units: &UnitsSummary) -> String {
    let missing = if units.missing == 0 { String::new() } else { format!(", {} ARE MISSING", units.missing) };
    format!(
        "{} of {} in {}{missing}: {} shared with {} other archives, {} only here",
        units.units,
        text::bytes(units.bytes),
        units.folder.display(),
        text::bytes(units.shared_bytes),
        units.shared_with,
        text::bytes(units.own_bytes)
    )
}

/// The importable names in the object, by module.
fn names(object: &ObjectSummary) -> String {
    let names: Vec<String> = object
        .audit
        .names
        .iter()
        .map(|name| format!("{}.{}", text::printable(&name.module), text::printable(&name.qualname)))
        .collect();
    if names.is_empty() { "none".to_owned() } else { names.join("\n           ") }
}

/// The metadata, one line per entry; long ones are cut, `--json` has them whole.
fn describe(metadata: &serde_json::Value, line: &mut impl FnMut(&str, String)) {
    const WIDTH: usize = 120;
    for (part, value) in metadata.as_object().into_iter().flatten() {
        for (key, value) in value.as_object().into_iter().flatten() {
            let mut shown = match value {
                serde_json::Value::String(string) => text::printable(string),
                other => text::printable(&other.to_string()),
            };
            if shown.chars().count() > WIDTH {
                shown = shown.chars().take(WIDTH).collect::<String>() + " ...";
            }
            line(&text::printable(part), format!("{}: {shown}", text::printable(key)));
        }
    }
}

fn arrays(found: &Inspection) -> String {
    let header = ["name", "dtype", "shape", "role", "bytes", "stored", "ratio", "codec", "why"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for array in &found.arrays {
        let shape = array.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
        rows.push(vec![
            text::printable(&array.name),
            text::printable(&array.dtype),
            shape,
            array.role.to_owned(),
            array.len_bytes.to_string(),
            array.stored_bytes.to_string(),
            array.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            text::printable(&array.codec),
            array.why.clone().unwrap_or_default(),
        ]);
    }
    text::columns(&rows)
}
