//! Paths given by people: checked before any work, so that mistakes cost nothing.
#![forbid(unsafe_code)]

use std::fs::{self, FileType, Metadata};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Checks that `path` is a regular file that can be read; reading a FIFO would wait for ever.
pub(crate) fn regular_file(path: &Path) -> Result<Metadata> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    if !metadata.is_file() {
        bail!(
            "cannot read `{}`: expected a regular file, found {}",
            path.display(),
            kind(metadata.file_type())
        );
    }
    fs::File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(metadata)
}

/// Where a command writes: `given`, which may replace a file, or a `default` that must not exist yet.
pub(crate) fn destination(given: Option<PathBuf>, default: PathBuf, source: &Path) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path,
        None if fs::symlink_metadata(&default).is_ok() => {
            bail!("`{0}` exists already; `-o {0}` replaces it, another -o keeps it", default.display())
        }
        None => default,
    };
    check_output(&path, &[source])?;
    Ok(path)
}

/// Checks that `path` can become a new file or replace a regular one that is none of `inputs`.
pub(crate) fn check_output(path: &Path, inputs: &[&Path]) -> Result<()> {
    let shown = path.display();
    if let Ok(metadata) = fs::metadata(path) {
        if !metadata.is_file() {
            bail!("cannot write `{shown}`: expected a file name, found {}", kind(metadata.file_type()));
        }
        let real = fs::canonicalize(path).ok();
        if inputs.iter().any(|input| real.is_some() && fs::canonicalize(input).ok() == real) {
            bail!("cannot write `{shown}`: it is the input; name another output with -o");
        }
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() && path.file_name().is_some() => Ok(()),
        Ok(metadata) if metadata.is_dir() => bail!("cannot write `{shown}`: it names no file"),
        Ok(_) => bail!("cannot write `{shown}`: `{}` is not a directory", folder.display()),
        Err(error) => Err(error).with_context(|| {
            format!("cannot write `{shown}`: no directory `{}` to put it in", folder.display())
        }),
    }
}

/// `path` with its extension replaced, also over the double one of compressed files: `x.joblib.gz`, `x.pkl.xz`.
pub fn converted_name(path: &Path) -> PathBuf {
    let mut stem = PathBuf::from(path.file_stem().unwrap_or_default());
    if ["joblib", "pkl", "pickle"].iter().any(|known| stem.extension().is_some_and(|found| found == *known)) {
        stem.set_extension("");
    }
    let mut name = stem.into_os_string();
    name.push(".onecopy");
    path.with_file_name(name)
}

/// `x.onecopy` becomes `x.cold.onecopy`.
pub fn archived_name(path: &Path) -> PathBuf {
    renamed(path, ".cold.onecopy")
}

/// `x.cold.onecopy` becomes `x.onecopy`, anything else `x.hot.onecopy`.
pub fn restored_name(path: &Path) -> PathBuf {
    let stem = PathBuf::from(path.file_stem().unwrap_or_default());
    let cold = stem.extension().is_some_and(|extension| extension == "cold");
    let (base, ending) =
        if cold { (path.with_file_name(&stem), ".onecopy") } else { (path.to_owned(), ".hot.onecopy") };
    renamed(&base, ending)
}

fn renamed(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

fn kind(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_names_keep_the_folder_and_drop_what_describes_the_container() {
        let cases = [
            ("a/x.joblib", "a/x.onecopy"),
            ("x.pkl", "x.onecopy"),
            ("x.joblib.gz", "x.onecopy"),
            ("model-1.2.joblib", "model-1.2.onecopy"),
            ("model", "model.onecopy"),
        ];
        for (from, to) in cases {
            assert_eq!(Path::new(to), converted_name(Path::new(from)));
        }
    }

    #[test]
    fn restoring_an_archive_leads_back_to_the_first_name() {
        let hot = Path::new("a/x.onecopy");
        let cold = archived_name(hot);
        assert_eq!(Path::new("a/x.cold.onecopy"), cold);
        assert_eq!(hot, restored_name(&cold));
        assert_eq!(Path::new("y.hot.onecopy"), restored_name(Path::new("y.onecopy")));
    }
}
