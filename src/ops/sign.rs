//! Signatures: who vouches for the content of a file.
//!
//! The signature of `NAME` lies beside it in `NAME.sig`, three lines of text: it is over the digest of the content, so the file that
//! was archived and its archive have the same. `docs/format.md` says what is signed.
#![forbid(unsafe_code)]

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::format::digest::Digest;
use crate::format::{OnProgress, Progress};
use crate::model::verify::{VerifyError, VerifyOptions, VerifyReport};
use crate::model::{Model, OpenError};
use crate::store::fs::{PublishError, StepError, publish};

/// What the text of a signature begins with.
const FIRST_LINE: &str = "onecopy ed25519 signature 1";
/// What is signed begins with this; the digest follows.
const CONTEXT: &[u8] = b"onecopy signature 1\0";
/// More than any key or signature has.
const MAX_BYTES: u64 = 16 << 10;

/// Who may vouch for a file: the public half of an ed25519 key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyKey(VerifyingKey);

impl VerifyKey {
    /// Reads a public key in PEM, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Io`], [`SignatureError::Key`]
    pub fn read(path: impl AsRef<Path>) -> Result<Self, SignatureError> {
        let text = short_text(path.as_ref())?;
        let key = VerifyingKey::from_public_key_pem(&text).map_err(|source| SignatureError::Key {
            path: path.as_ref().to_owned(),
            expected: "an ed25519 public key in PEM (`openssl pkey -in KEY -pubout`)",
            source: Box::new(source),
        });
        Ok(VerifyKey(key?))
    }
}

/// A signature that could not be made, or a file that is not vouched for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its bytes are not what its digest names.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        source: Box<VerifyError>,
    },
    /// A key or a signature cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No key is in the file.
    #[error("{} is not {expected}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// Why it is not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is no signature.
    #[error("{} is not signed: there is no {}; sign it with `onecopy sign`, or do not ask for a key", path.display(), signature.display())]
    Unsigned {
        /// The file.
        path: PathBuf,
        /// Where its signature should be.
        signature: PathBuf,
    },
    /// The signature is none.
    #[error("{} is not a signature: expected the three lines that `onecopy sign` writes", path.display())]
    Malformed {
        /// The file of the signature.
        path: PathBuf,
    },
    /// The signature is of other content.
    #[error("{} has digest {found}, its signature is of {signed}; the file was replaced or changed after it was signed", path.display())]
    OtherContent {
        /// The file.
        path: PathBuf,
        /// What the signature is of.
        signed: Digest,
        /// What the file has.
        found: Digest,
    },
    /// Somebody else has signed, or nobody.
    #[error("the signature of {} is not of this key; do not use the file unless you know who signed it", path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
    },
    /// The signature cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The signature cannot be published.
    #[error(transparent)]
    Publish(#[from] StepError),
}

/// Where the signature of a file lies: its path with `.sig` behind it.
pub fn signature_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".sig");
    name.into()
}

/// Vouches for the content of a file, with an ed25519 private key in PEM (PKCS #8, as `openssl genpkey -algorithm ed25519` writes
/// it). Reads the whole file: what is damaged is not signed. Gives the path of the signature, which replaces an earlier one.
///
/// # Errors
///
/// [`SignatureError`]; an earlier signature then is what it was.
pub fn sign(path: &Path, key: impl AsRef<Path>, progress: OnProgress<'_>) -> Result<PathBuf, SignatureError> {
    let key = key.as_ref();
    let signer = SigningKey::from_pkcs8_pem(&short_text(key)?).map_err(|source| SignatureError::Key {
        path: key.to_owned(),
        expected: "an ed25519 private key in PEM (`openssl genpkey -algorithm ed25519`)",
        source: Box::new(source),
    })?;
    let model = Model::open(path)?;
    intact(&model, path, progress)?;
    let digest = model.digest();
    let signature = hexadecimal(&signer.sign(&message(digest)).to_bytes());
    let text = format!("{FIRST_LINE}\ndigest {digest}\nsignature {signature}\n");
    let to = signature_path(path);
    progress(Progress::publishing(text.len() as u64));
    publish(&to, |file| file.write_all(text.as_bytes())).map_err(|error| match error {
        PublishError::Write(source) => SignatureError::Write { path: to.clone(), source },
        PublishError::Step(step) => step.into(),
    })?;
    Ok(to)
}

/// Opens a file and checks that the owner of `key` has signed it and that every byte is as it was then.
///
/// # Errors
///
/// [`SignatureError`]
pub fn verify_signed(
    path: &Path,
    key: &VerifyKey,
    progress: OnProgress<'_>,
) -> Result<VerifyReport, SignatureError> {
    vouched(&Model::open(path)?, path, key, progress)
}

/// Checks that the owner of `key` has signed the content of `model`, which was made of the file at `path`.
pub(crate) fn vouched<D: AsRef<[u8]> + Sync>(
    model: &Model<D>,
    path: &Path,
    key: &VerifyKey,
    progress: OnProgress<'_>,
) -> Result<VerifyReport, SignatureError> {
    let (signed, signature) = read_signature(path)?;
    let found = model.digest();
    if signed != found {
        return Err(SignatureError::OtherContent { path: path.to_owned(), signed, found });
    }
    let vouched = key.0.verify_strict(&message(found), &signature);
    vouched.map_err(|_| SignatureError::OtherKey { path: path.to_owned() })?;
    intact(model, path, progress)
}

fn intact<D: AsRef<[u8]> + Sync>(
    model: &Model<D>,
    path: &Path,
    progress: OnProgress<'_>,
) -> Result<VerifyReport, SignatureError> {
    let damaged = |source| SignatureError::Damaged { path: path.to_owned(), source: Box::new(source) };
    model.verify(VerifyOptions { digests: true }, progress).map_err(damaged)
}

fn message(digest: Digest) -> Vec<u8> {
    [CONTEXT, &digest.0].concat()
}

/// What the signature of a file is of, and the signature.
fn read_signature(path: &Path) -> Result<(Digest, Signature), SignatureError> {
    let at = signature_path(path);
    let text = match short_text(&at) {
        Err(SignatureError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(SignatureError::Unsigned { path: path.to_owned(), signature: at });
        }
        text => text?,
    };
    parse(&text).ok_or(SignatureError::Malformed { path: at })
}

fn parse(text: &str) -> Option<(Digest, Signature)> {
    let mut lines = text.lines();
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let digest = bytes(lines.next()?.strip_prefix("digest ")?)?;
    let signature = bytes(lines.next()?.strip_prefix("signature ")?)?;
    lines.next().is_none().then(|| (Digest(digest), Signature::from_bytes(&signature)))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes<const N: usize>(hexadecimal: &str) -> Option<[u8; N]> {
    let digits = hexadecimal.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// The text of a small file.
fn short_text(path: &Path) -> Result<String, SignatureError> {
    let failed = |source| SignatureError::Io { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)).map_err(failed)?;
    Ok(text)
}
