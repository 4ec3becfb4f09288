//! Files in memory: filled by one process, then sealed, so that nobody can change or shorten them any more, whoever has
//! a descriptor.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};

#[cfg(target_os = "linux")]
pub(crate) use linux::{create, is_sealed, seal};
#[cfg(not(target_os = "linux"))]
pub(crate) use other::{create, is_sealed, seal};

/// A file in memory with the first `len` bytes of `source`, or as many as there are. They are read, not mapped: a
/// source that is cut short meanwhile gives fewer bytes, and one that cannot be read an error.
pub(crate) fn copy(source: &File, len: u64) -> io::Result<File> {
    let mut memory = create()?;
    io::copy(&mut source.take(len), &mut memory)?;
    Ok(memory)
}

#[cfg(target_os = "linux")]
mod linux {
    #![forbid(unsafe_code)]

    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;

    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};

    /// A new file in memory, which only this process has.
    pub(crate) fn create() -> io::Result<File> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let never_run = MFdFlags::from_bits_retain(nix::libc::MFD_NOEXEC_SEAL);
        let made = match memfd_create(c"onecopy", flags | never_run) {
            // Linux before 6.3 does not know that a file shall never be run.
            Err(Errno::EINVAL) => memfd_create(c"onecopy", flags),
            made => made,
        };
        Ok(File::from(made?))
    }

    /// Seals a file made by [`create`] that nobody maps writably; gives a descriptor that is for reading only.
    pub(crate) fn seal(file: File) -> io::Result<File> {
        fcntl(&file, FcntlArg::F_ADD_SEALS(unchanging() | SealFlag::F_SEAL_SEAL))?;
        // Linux before 6.7 maps a sealed file only from such a descriptor.
        Ok(File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or(file))
    }

    /// Whether it is a file in memory that nobody can change, shorten or lengthen.
    pub(crate) fn is_sealed(file: &File) -> bool {
        let seals = fcntl(file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_retain);
        seals.is_ok_and(|seals| seals.contains(unchanging()))
    }

    fn unchanging() -> SealFlag {
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    #![forbid(unsafe_code)]

    use std::fs::File;
    use std::io;

    /// There are none.
    pub(crate) fn create() -> io::Result<File> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux has sealed files in memory"))
    }

    /// Nothing to seal.
    pub(crate) fn seal(file: File) -> io::Result<File> {
        create().and(Ok(file))
    }

    /// Never.
    pub(crate) fn is_sealed(_: &File) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn a_sealed_file_cannot_be_written_shortened_or_lengthened() {
        let mut file = create().unwrap();
        file.write_all(b"content").unwrap();
        let mut writable = file.try_clone().unwrap();
        assert!(!is_sealed(&file));
        let sealed = seal(file).unwrap();
        assert!(is_sealed(&sealed));
        for refused in [writable.write_all(b"x"), writable.set_len(1), writable.set_len(100)] {
            assert_eq!(io::ErrorKind::PermissionDenied, refused.unwrap_err().kind());
        }
        let mut text = String::new();
        (&sealed).rewind().unwrap();
        (&sealed).read_to_string(&mut text).unwrap();
        assert_eq!("content", text);
    }

    #[test]
    fn ordinary_files_are_not_sealed() {
        assert!(!is_sealed(&tempfile::tempfile().unwrap()));
    }
}
